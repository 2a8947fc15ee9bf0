//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/adit-ssh/adit/internal/control"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/session"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/sshconfig"
)

// throughMaster has the master of ControlPath do what the command line says. done
// is false when there is none, or it can't: then a connection of our own does it
// (mux.c, muxclient).
func (a *sshArgs) throughMaster(ctx context.Context, conf *sshconfig.Config, bg *background) (done bool, err error) {
	path := controlPath(conf)
	switch {
	case path == "" && a.control != "":
		return true, errNoControlPath
	case path == "", a.control == "" && (conf.ControlMaster == "yes" || conf.ControlMaster == "ask"):
		return false, nil
	}
	c, err := control.Dial(ctx, path)
	if err != nil {
		return a.noMaster(ctx, conf, err)
	}
	if a.control == "proxy" {
		if slices.ContainsFunc(a.forwards, func(s forward.Spec) bool { return s.Remote }) {
			c.Close()
			return true, errRemoteByProxy
		}
		if a.proxied, err = c.Proxy(); err != nil {
			c.Close()
		}
		a.session.alone = false // the connection is others', too
		return err != nil, err
	}
	defer c.Close()
	if a.control != "" {
		return true, a.controlCommand(c)
	}
	if a.tracing.file+a.tracing.keylog != "" {
		a.sayAs("ERROR", "adit: warning: nothing is recorded: the connection is another program's, at the socket "+path+"; it can be recorded there, or with -S none")
	}
	return a.runShared(ctx, conf, c, bg)
}

// noMaster says why there is no master, if that is of interest.
func (a *sshArgs) noMaster(ctx context.Context, conf *sshconfig.Config, err error) (done bool, _ error) {
	unreached, ok := errors.AsType[*control.ConnectError](err)
	_, long := errors.AsType[*control.PathError](err)
	switch {
	case ctx.Err() != nil, long:
		return true, err
	case a.control != "" && ok:
		a.sayError(err)
		return true, exitError(255)
	case a.control != "":
		return true, err
	case ok && errors.Is(unreached, fs.ErrNotExist):
	case ok && errors.Is(unreached, syscall.ECONNREFUSED) && conf.ControlMaster != "no": // a master may take its place
	default:
		a.sayError(err)
	}
	return false, nil
}

// sayError prints an error whose text is OpenSSH's.
func (a *sshArgs) sayError(err error) { a.Say("ERROR", err.Error()) }

// complain tells an error after which there is more to do, if LogLevel lets it.
func (a *sshArgs) complain(err error) {
	if a.shows("ERROR") {
		tell(err)
	}
}

// controlCommand is -O.
func (a *sshArgs) controlCommand(c *control.Client) error {
	switch a.control {
	case "check":
		pid, err := c.Alive()
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Master running (pid=%d)\r\n", pid)
	case "exit", "stop":
		request, text := c.Terminate, "Exit request sent."
		if a.control == "stop" {
			request, text = c.StopListening, "Stop listening request sent."
		}
		if err := request(); err != nil {
			return err
		}
		if a.logLevel != "QUIET" {
			fmt.Fprintf(os.Stderr, "%s\r\n", text)
		}
	case "forward":
		if !a.addForwards(c) {
			return errors.New("master forward request failed")
		}
	case "cancel":
		failed := false
		for _, s := range a.forwards {
			if err := c.Cancel(s); err != nil {
				a.complain(fmt.Errorf("cancel %s: %w", forwardFlag(s), err))
				failed = true
			}
		}
		if failed { // and the exit status is 0, as ssh has it
			a.complain(errors.New("master cancel forward request failed"))
		}
	}
	return nil
}

// addForwards has the master open the forwards, and reports whether there are all.
func (a *sshArgs) addForwards(c *control.Client) bool {
	all := true
	for _, s := range a.forwards {
		port, err := c.Forward(s)
		switch {
		case err != nil:
			a.complain(fmt.Errorf("forward %s: %w", forwardFlag(s), err))
			all = false
		case port == 0:
		case a.control != "":
			fmt.Println(port)
		case s.Remote:
			a.Say("VERBOSE", fmt.Sprintf("Allocated port %d for remote forward to %s", port, s.Target()))
		default:
			a.Notice(fmt.Sprintf("forward %s: listening on port %d", s, port))
		}
	}
	return all
}

// forwardFlag is a forward as it stands on the command line.
func forwardFlag(s forward.Spec) string {
	switch {
	case s.Remote:
		return "-R " + s.String()
	case s.Dynamic:
		return "-D " + s.String()
	}
	return "-L " + s.String()
}

// runShared has the master add the forwards and run the session, or -W; with bg it
// goes into the background when that is up. A master that refuses is told, and done
// is false.
func (a *sshArgs) runShared(ctx context.Context, conf *sshconfig.Config, c *control.Client, bg *background) (done bool, err error) {
	if a.stdio == nil && !a.addForwards(c) {
		a.sayError(errors.New("muxclient: master forward request failed"))
		return false, nil
	}
	in := os.Stdin
	if a.noStdin {
		if in, err = os.Open(os.DevNull); err != nil {
			return true, err
		}
		defer in.Close()
	}
	switch {
	case a.stdio != nil:
		p, err := c.Stdio(*a.stdio, in, os.Stdout)
		if err == nil {
			if _, err = p.Wait(ctx, nil); errors.Is(err, control.ErrNoStatus) {
				err = nil
			}
		}
		return true, err
	case a.noCommand:
		if err := bg.detach(nil); err != nil {
			return true, err
		}
		return true, awaitMaster(ctx, c)
	}
	request := control.Session{
		Command: strings.Join(a.command, " "), Subsystem: a.session.subsystem, TTY: a.wantsPTY(), Term: a.session.term,
		Agent: conf.ForwardAgent != "no", Escape: -1, Env: conf.SessionEnv(os.Environ()),
	}
	if a.session.escapes {
		request.Escape = int(a.session.escape)
	}
	var size wire.WindowChange
	if request.TTY { // as the master sees it, or older
		size = session.NewTerminal(os.Stdin, os.Stdout).Size()
	}
	p, err := c.Start(request, in, os.Stdout, os.Stderr)
	if err != nil { // too many sessions, perhaps: a connection of our own may do better
		if refused, ok := errors.AsType[*control.RefusedError](err); !ok || !refused.Denied {
			err = fmt.Errorf("mux_client_request_session: %w", err)
		}
		a.sayError(err)
		return false, nil
	}
	if err := bg.detach(nil); err != nil {
		return true, err
	}
	return true, a.ride(ctx, conf, p, request.TTY && bg == nil, size)
}

// ride waits for a session that the master runs. Our part is the terminal, whose size
// may be another than told by now.
func (a *sshArgs) ride(ctx context.Context, conf *sshconfig.Config, p *control.Passenger, tty bool, told wire.WindowChange) error {
	terminal := session.NewTerminal(os.Stdin, os.Stdout)
	defer terminal.Restore()
	if tty {
		messages.onTerminal(terminal.IsRaw)
		changed, stop := terminal.Resized()
		if terminal.Size() != told {
			p.WindowChanged()
		}
		terminal.Raw() // in vain if it is no terminal, but the server has one all the same
		over := make(chan struct{})
		var following sync.WaitGroup
		defer following.Wait()
		defer close(over)
		defer stop()
		following.Go(func() {
			for {
				select {
				case <-changed:
					p.WindowChanged()
				case <-over:
					return
				}
			}
		})
	}
	status, err := p.Wait(ctx, terminal.Restore)
	terminal.Restore()
	if tty {
		a.Say("INFO", fmt.Sprintf("Shared connection to %s closed.", conf.HostName))
	}
	switch {
	case errors.Is(err, control.ErrNoStatus):
		return exitError(255)
	case err == nil && status != 0:
		return exitError(status)
	}
	return err
}

// awaitMaster is -N on a connection that others share: until a signal, or the
// master's end.
func awaitMaster(ctx context.Context, c *control.Client) error {
	err := c.Await(ctx)
	if s, ok := errors.AsType[signalError](context.Cause(ctx)); ok && s.Signal == syscall.SIGTERM {
		return nil
	}
	return err
}
