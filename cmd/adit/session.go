package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/session"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/sshconfig"
)

// sessionArgs is what the configuration says of the session.
type sessionArgs struct {
	subsystem   bool
	requestTTY  string // yes, no, force, auto
	term        string
	env         []wire.Env
	escape      byte
	escapes     bool
	commandLine bool   // ~C
	local       string // LocalCommand, expanded; "" for none
	mayLocal    bool
	alone       bool // nobody else asks for sessions on the connection
	x11         bool
}

// configureSession takes over what the configuration says of the session.
func (a *sshArgs) configureSession(c *sshconfig.Config) error {
	a.session = sessionArgs{
		subsystem: c.SessionType == "subsystem", requestTTY: c.RequestTTY, term: c.TermName(os.Getenv),
		commandLine: c.EnableEscapeCommandline, mayLocal: c.PermitLocalCommand,
		alone: c.ControlMaster == "no", x11: c.ForwardX11,
	}
	a.session.escape, a.session.escapes = c.EscapeByte()
	for _, e := range c.SessionEnv(os.Environ()) {
		name, value, _ := strings.Cut(e, "=")
		a.session.env = append(a.session.env, wire.Env{Name: name, Value: value})
	}
	if c.PermitLocalCommand && c.LocalCommand != "" {
		var err error
		if a.session.local, err = c.ExpandLocalCommand(); err != nil {
			return fmt.Errorf("%s: LocalCommand: %w", c.Origin("LocalCommand"), err)
		}
	}
	if a.session.subsystem && len(a.command) == 0 {
		return &usageError{"ssh", errors.New("You must specify a subsystem to invoke.")} //lint:ignore ST1005 OpenSSH's words
	}
	return nil
}

// commandText is the command line for the server's shell; "" is the shell itself.
func (a *sshArgs) commandText() string { return strings.Join(a.command, " ") }

// wantsPTY decides about a pseudo-terminal as ssh.c's main does, and says so if
// there can't be one.
func (a *sshArgs) wantsPTY() bool {
	wants, lacks := a.decidePTY()
	if lacks {
		a.sayAs("INFO", "Pseudo-terminal will not be allocated because stdin is not a terminal.")
	}
	return wants
}

// decidePTY tells whether there will be a pseudo-terminal, or one is wanted but
// standard input is no terminal.
func (a *sshArgs) decidePTY() (wanted, lacks bool) {
	s := &a.session
	wants := a.commandText() == "" || s.requestTTY == "yes"
	switch {
	case s.requestTTY == "force":
		return true, false
	case s.requestTTY == "no" || !wants:
		return false, false
	}
	wanted = !a.noStdin && session.IsTerminal(os.Stdin)
	return wanted, !wanted
}

// interactive is a running session and all that its escapes can reach.
type interactive struct {
	a        *sshArgs
	c        *adit.Client
	ch       *adit.Conn
	terminal *session.Terminal
	keys     *keys // nil if nothing is read, or not from a terminal
	pty      bool

	mu       sync.Mutex
	forwards []*running        // guarded by mu
	size     wire.WindowChange // that the server was told last; guarded by mu
}

// runSession runs the command, the subsystem or the shell, and returns when it and
// all connections over forwards have ended.
func runSession(ctx context.Context, c *adit.Client, a *sshArgs, forwards []*running, b *background) error {
	i := &interactive{a: a, c: c, pty: a.wantsPTY(), forwards: forwards, terminal: session.NewTerminal(os.Stdin, os.Stdout)}
	ch, err := c.OpenChannel(ctx, wire.ChannelSession, nil, adit.Options{Requests: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	defer ch.Close()
	i.ch = ch
	if a.session.alone {
		c.SendRequest(ctx, wire.GlobalNoMoreSessions, false, nil) // OpenSSH PROTOCOL, section 2.2
	}
	if err := a.forwardAgent(ctx, c, ch); err != nil {
		return err
	}
	if a.session.x11 && os.Getenv("DISPLAY") != "" {
		a.sayAs("ERROR", "X11 forwarding request failed: adit has no X11 forwarding")
	}
	if err := a.runLocal(ctx); err != nil {
		return err
	}
	request := session.Request{Command: a.commandText(), Subsystem: a.session.subsystem, Env: a.session.env}
	defer i.terminal.End()
	if i.pty {
		request.PTY = i.ptyRequest()
		messages.onTerminal(i.terminal.IsRaw)
	}
	if !a.noStdin && session.IsTerminal(os.Stdin) {
		i.keys = &keys{in: os.Stdin, terminal: i.terminal, ended: make(chan struct{})}
		defer close(i.keys.ended)
		a.Prompter.(*terminal).give(i.keys, func() {
			if i.pty {
				i.terminal.Raw()
			}
		})
	}
	s, err := session.Start(ch, request)
	if err != nil {
		if lost := a.lost(c); lost != nil {
			err = lost
		}
		return err
	}
	std := i.streams()
	if err := b.detach(&std); err != nil {
		return err
	}
	var following sync.WaitGroup
	if i.pty {
		sized, stop := context.WithCancel(ctx)
		defer following.Wait()
		defer stop()
		following.Go(func() { i.followSize(sized, *request.PTY) })
	}
	exit, unwritten, err := s.Run(ctx, std)
	i.terminal.End() // whoever types ~C or ~^Z now must not make it raw again
	if err == nil && c.Err() == nil {
		err = i.awaitForwards(ctx)
	}
	return i.outcome(ctx, exit, unwritten, err)
}

// ptyRequest asks for a terminal like the person's.
func (i *interactive) ptyRequest() *wire.PtyReq {
	p := &wire.PtyReq{Term: i.a.session.term, Modes: session.NoModes()}
	if session.IsTerminal(os.Stdin) {
		size := i.terminal.Size()
		p.Columns, p.Rows, p.Width, p.Height = size.Columns, size.Rows, size.Width, size.Height
		p.Modes = i.terminal.Modes()
	}
	return p
}

// streams are standard input, output and error, and the escapes.
func (i *interactive) streams() session.Streams {
	std := session.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	switch {
	case i.a.noStdin:
		std.In = nil
	case i.keys != nil:
		std.In = i.keys
	}
	if std.In != nil && i.pty {
		if i.a.session.escapes {
			std.In = &session.Escapes{In: std.In, Char: i.a.session.escape, Do: i.escape}
		}
	}
	std.NoPTY = i.noPTY
	if !session.IsTerminal(os.Stdout) {
		// Whoever reads our output sees its end when the server does not send any
		// more, though the command goes on.
		std.OutEnded = closeStdout
	}
	return std
}

// noPTY goes on without a terminal, unless somebody asked for one.
func (i *interactive) noPTY() error {
	i.terminal.Restore()
	err := errors.New("PTY allocation request failed on channel 0")
	if i.a.session.requestTTY == "auto" {
		i.a.sayAs("ERROR", err.Error())
		return nil
	}
	return err
}

// followSize tells the server when the terminal's size changes from what it was
// told, until ctx ends.
func (i *interactive) followSize(ctx context.Context, told wire.PtyReq) {
	changed, stop := i.terminal.Resized()
	defer stop()
	i.mu.Lock()
	i.size = wire.WindowChange{Columns: told.Columns, Rows: told.Rows, Width: told.Width, Height: told.Height}
	i.mu.Unlock()
	for {
		i.tellSize(ctx)
		select {
		case <-changed:
		case <-i.ch.Closed():
			return
		case <-ctx.Done():
			return
		}
	}
}

// tellSize tells the server the terminal's size, if it is another than before.
func (i *interactive) tellSize(ctx context.Context) {
	now := i.terminal.Size()
	i.mu.Lock()
	changed := now != i.size && now.Columns > 0
	if changed {
		i.size = now
	}
	i.mu.Unlock()
	if changed {
		i.ch.SendRequest(ctx, wire.RequestWindow, false, now.Append(nil))
	}
}

// forwardsInterval is how often connections over forwards are counted once the
// session has ended.
const forwardsInterval = 50 * time.Millisecond

// awaitForwards waits until nobody uses the forwards any more, as ssh does when
// its session has ended.
func (i *interactive) awaitForwards(ctx context.Context) error {
	tick := time.NewTicker(forwardsInterval)
	defer tick.Stop()
	for i.inUse() {
		select {
		case <-tick.C:
		case <-i.c.Done():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (i *interactive) inUse() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, f := range i.forwards {
		if f.Conns() > 0 {
			return true
		}
	}
	return false
}

// outcome tells how it ended, and returns what the program ends with.
func (i *interactive) outcome(ctx context.Context, exit session.Exit, unwritten, err error) error {
	lost := i.a.lost(i.c)
	if lost != nil {
		lost.terminal = i.pty
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && !errors.Is(err, session.ErrTerminated):
		return err // the server refused something
	case err == nil && !exit.Known && lost != nil:
		return lost
	}
	if i.pty {
		i.a.sayAs("INFO", fmt.Sprintf("Connection to %s closed.", i.a.Host))
	}
	quiet := i.pty || relay.PeerGone(unwritten) || errors.Is(unwritten, os.ErrClosed)
	switch {
	case err != nil:
		return exitError(255)
	case unwritten != nil && !quiet:
		return fmt.Errorf("write the command's output: %w", unwritten)
	case exit.Known && exit.Signal == "":
		if exit.Status == 0 {
			return nil
		}
		return exitError(exit.Status)
	case quiet: // whoever looks on saw why
		return exitError(255)
	case exit.Signal != "":
		return fmt.Errorf("the command was ended by signal %.32q", exit.Signal)
	}
	return errNoStatus
}

// errNoStatus is a command that ended without telling how.
var errNoStatus = errors.New("the server did not say how the command ended")
