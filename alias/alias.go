// Package alias connects to a host as its name stands in a person's ssh_config:
// with the configuration, the known_hosts, the keys and the agent that `adit ssh`
// and ssh would use.
//
// It is apart from package adit so that a program whose Config is made in code
// reads no files, and so that the reading of files, which needs package adit,
// can be above it. Dial is the whole of it.
package alias

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/sshconfig"
	"github.com/adit-ssh/adit/trace"
)

// Options are the hooks of a program, and what goes before the files. The zero
// value asks nobody and tells nothing.
type Options struct {
	// File is read instead of ~/.ssh/config and the system's (ssh -F). "none"
	// reads none.
	File string
	// Set are lines in ssh_config's form that go before those of files (ssh -o),
	// such as "User=ann".
	Set []string

	// Ask asks a person for a password, a passphrase, or whether an unknown host
	// key is right; echo says that the answer may be seen. A cancelled question
	// is adit.ErrSkip; other errors end Dial. With UpdateHostKeys ask it is called
	// after Dial too, on another goroutine. Nil is BatchMode: whatever would have
	// to be asked fails, and the error says what that was.
	Ask func(ctx context.Context, question string, echo bool) (answer string, err error)
	// Notice receives, line by line, warnings such as one about a key file that
	// can't be used, and the server's banner. All of it is printable. Nil drops
	// them.
	Notice func(text string)
	// Tracer receives events. May be nil.
	Tracer trace.Tracer
}

// Dial connects to a host by its alias, [user@]host or ssh://[user@]host[:port],
// and logs in. Only what ssh_config says about connecting is obeyed: no forwards
// are started and no commands run, but for those of Match exec and of the way to
// the server.
//
// Host keys are checked as StrictHostKeyChecking says; an unknown one is an
// error, a *knownhosts.UnknownError in the chain, unless Ask confirms it or the
// configuration accepts it. With StrictHostKeyChecking no, and then only, also a
// host whose key has changed is connected to, as ssh does it: no password is sent,
// and Client.Unverified is true. Whoever must know who is there asks for that, or
// has "StrictHostKeyChecking=yes" in Set.
//
// ctx bounds the call, and what is asked meanwhile. Other errors are those of
// adit.Dial, and of files that can't be obeyed. o may be nil.
func Dial(ctx context.Context, alias string, o *Options) (*adit.Client, error) {
	if o == nil {
		o = new(Options)
	}
	at, ok := sshconfig.ParseTarget(alias)
	if !ok || at.Host == "" || strings.HasPrefix(at.Host, "-") {
		return nil, fmt.Errorf("alias %q: it is not [user@]host or ssh://[user@]host[:port]", alias)
	}
	lines := o.Set
	if at.Port != 0 {
		lines = append([]string{"Port=" + strconv.Itoa(at.Port)}, lines...)
	}
	conf, err := setup.LoadConfig(ctx, sshconfig.Options{Host: at.Host, RemoteUser: at.User, File: o.File, CommandLine: lines})
	if err != nil {
		return nil, err
	}
	s := setup.Options{Notice: o.Notice, Tracer: o.Tracer}
	if err := s.Apply(conf); err != nil {
		return nil, err
	}
	if s.Route.Command == "-" {
		return nil, fmt.Errorf("alias %q: ProxyCommand - (%s): a program's standard input and output are no way to a server", alias, conf.Origin("ProxyCommand"))
	}
	if o.Ask == nil {
		s.BatchMode = true
	} else {
		s.Prompter = prompter(o.Ask)
	}
	s.Route.File, s.Lifetime = o.File, ctx
	cfg, err := s.Config()
	if err != nil {
		return nil, err
	}
	return s.Dial(ctx, cfg)
}

// prompter is Options.Ask as setup wants it.
type prompter func(ctx context.Context, question string, echo bool) (string, error)

// Ask implements setup.Prompter.
func (p prompter) Ask(ctx context.Context, question string, echo bool) (string, bool, error) {
	answer, err := p(ctx, question, echo)
	if errors.Is(err, adit.ErrSkip) {
		return "", false, nil
	}
	return answer, err == nil, err
}
