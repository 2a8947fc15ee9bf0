package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
)

// startForwards starts -L, -D and -R. One that fails is told; with
// ExitOnForwardFailure, or when nothing is left to do, it ends the program.
func startForwards(ctx context.Context, c *adit.Client, a *sshArgs) (started []*running, err error) {
	type result struct {
		f   *adit.Forwarding
		err error
	}
	results := make([]result, len(a.forwards))
	// The server is asked for all of its listeners at once, as ssh does it.
	var asked sync.WaitGroup
	defer asked.Wait()
	start := func(i int) { results[i].f, results[i].err = c.ForwardSpec(ctx, a.forwards[i], a.forwarding) }
	for i, s := range a.forwards {
		if s.Remote {
			asked.Go(func() { start(i) })
		}
	}
	for i, s := range a.forwards {
		if !s.Remote {
			start(i)
		}
	}
	asked.Wait()
	for i, s := range a.forwards {
		if f := results[i].f; f != nil {
			started = append(started, &running{s, f})
			a.tellForward(s, f)
		}
	}
	for i, s := range a.forwards {
		if err := results[i].err; err != nil {
			a.tellFailure(s, err)
			if a.exitOnFail {
				return started, exitError(255)
			}
		}
	}
	if a.noCommand && len(a.forwards) > 0 && len(started) == 0 {
		return nil, exitError(255)
	}
	return started, nil
}

// tellForward tells what could not be known before.
func (a *sshArgs) tellForward(s forward.Spec, f *adit.Forwarding) {
	for _, err := range f.Skipped() {
		a.Notice(fmt.Sprintf("warning: forward %s: %v", s, err))
	}
	switch {
	case s.Port != 0 || s.ListenPath != "":
	case s.Remote:
		_, port, _ := net.SplitHostPort(f.Addr().String())
		a.plain(fmt.Sprintf("Allocated port %s for remote forward to %s", port, s.Target()))
	default:
		a.Notice(fmt.Sprintf("forward %s: listening on %s", s, f.Addr()))
	}
}

// plain prints a line in the words of OpenSSH, which scripts look for.
func (a *sshArgs) plain(line string) {
	if !a.quiet {
		fmt.Fprintln(messages, line)
	}
}

// tellFailure tells of a forward that there is not. A remote one that the server
// refuses is told in OpenSSH's words (ssh.c, ssh_confirm_remote_forward).
func (a *sshArgs) tellFailure(s forward.Spec, err error) {
	refused, ok := errors.AsType[*adit.RemoteListenError](err)
	level := "ERROR"
	switch {
	case ok && a.exitOnFail:
		level = "FATAL"
	case ok:
		level = "INFO"
	}
	switch {
	case !a.shows(level):
		return
	case !ok && s.Remote:
		tell(fmt.Errorf("forward -R %s: %w", s, err))
		return
	case !ok:
		tell(err)
		return
	}
	what := fmt.Sprintf("port %d", s.Port)
	if s.ListenPath != "" {
		what = "path " + s.ListenPath
	}
	word := "Warning"
	if a.exitOnFail {
		word = "Error"
	}
	fmt.Fprintf(messages, "%s: remote port forwarding failed for listen %s\nadit: hint: %s\n", word, what, remoteHint(refused))
}

// tellRefused tells of a connection that came to a forward and whose target can't be
// reached: what connected sees no more of it than an end. The words are OpenSSH's, as
// far as scripts look for them (channels.c), and it has them at the same level.
func (a *sshArgs) tellRefused(target string, err error) {
	if e, ok := errors.AsType[*adit.OpenError](err); ok {
		a.sayAs("INFO", fmt.Sprintf("channel to %s: open failed: %s: %s", printable(target), refusal(e.Reason), printable(e.Description)))
	}
}

// tellUnreachable is the same for what the server asked us for (-R).
func (a *sshArgs) tellUnreachable(target string, err error) {
	where := "connect to " + target
	if host, port, err := net.SplitHostPort(target); err == nil {
		where = fmt.Sprintf("connect_to %s port %s:", host, port)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	a.sayAs("ERROR", fmt.Sprintf("%s failed: %s", printable(where), printable(err.Error())))
}

// remoteHint says why a server may refuse to listen: it does not say so itself.
func remoteHint(e *adit.RemoteListenError) string {
	switch {
	case e.Path != "":
		return "sshd leaves sockets behind: remove an old one on the server, or set StreamLocalBindUnlink yes in its sshd_config. That may also forbid it: AllowStreamLocalForwarding, DisableForwarding"
	case e.Port != 0 && e.Port < 1024:
		return "on most servers ports below 1024 are for root; sshd_config may also forbid it: AllowTcpForwarding, PermitListen, DisableForwarding"
	case e.Port == 0:
		return "sshd_config may forbid it: AllowTcpForwarding, PermitListen, DisableForwarding"
	}
	return "is the port in use on the server, by an earlier connection perhaps? sshd_config may also forbid it: AllowTcpForwarding, PermitListen, DisableForwarding"
}
