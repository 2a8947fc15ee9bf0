package main

import (
	"context"
	"io"
	"net"

	"github.com/spf13/pflag"
)

// ownArgs reads the words of `adit ssm …` as somebody's ProxyCommand, which so
// needs no process of its own. Nil is for a process, which says what is wrong.
func ownArgs(words []string) *ssmArgs {
	if words[0] != "ssm" {
		return nil
	}
	a := new(ssmArgs)
	f := pflag.NewFlagSet("ssm", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	a.flags(f)
	if f.Parse(words[1:]) != nil || a.read(f.Args()) != nil {
		return nil
	}
	return a
}

// ownCommand makes what dials for `adit ssm …` as our ProxyCommand. It tells of a
// port that does not speak, and notes how many sessions are wanted.
func (a *sshArgs) ownCommand(words []string) func(context.Context) (net.Conn, error) {
	s := ownArgs(words)
	if s == nil {
		return nil
	}
	a.sessions = s.sessions
	a.pushing.goes(s)
	s.options.Notice = func(text string) { a.Notice("notice: " + text) }
	return func(ctx context.Context) (net.Conn, error) {
		c, err := s.dial(ctx)
		if err != nil {
			return nil, err
		}
		return s.watch(c, a.Notice), nil
	}
}

// examinedCommand is ownCommand for the doctor, who wants to know what silence
// means.
func examinedCommand(words []string) func(context.Context) (net.Conn, error) {
	s := ownArgs(words)
	if s == nil {
		return nil
	}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := s.dial(ctx)
		if err != nil {
			return nil, err
		}
		return &examinedConn{c, s}, nil
	}
}

type examinedConn struct {
	net.Conn
	a *ssmArgs
}

// Silence implements doctor.Silencer.
func (c *examinedConn) Silence() (meaning, fix string) {
	return "the session stands, but " + silentText(&c.a.options),
		"start sshd there, or say its port with -p; AWS's agent is silent for a minute when a port refuses"
}
