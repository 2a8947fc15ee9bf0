package session

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/wire"
)

// Request is what to run at the server.
type Request struct {
	// Command is a command line for the user's shell there, or a subsystem's
	// name. Empty means the shell itself.
	Command   string
	Subsystem bool
	// PTY is the pseudo-terminal to run it in; nil for none.
	PTY *wire.PtyReq
	// Env are variables, which servers take only if they are set up for them.
	Env []wire.Env
}

// kind is the name of the request that starts it.
func (r *Request) kind() string {
	switch {
	case r.Subsystem:
		return wire.RequestSubsystem
	case r.Command != "":
		return wire.RequestExec
	}
	return wire.RequestShell
}

// RefusedError is a session whose command, shell or subsystem the server would
// not start. The text is OpenSSH's (clientloop.c, client_status_confirm).
type RefusedError struct {
	Kind    string // exec, shell or subsystem
	Command string
}

func (e *RefusedError) Error() string { return e.Kind + " request failed on channel 0" }

// Session is a session that was asked for.
//
// Goroutines: see Run.
type Session struct {
	ch      *mux.Channel
	req     Request
	pty     <-chan bool // nil without PTY
	started <-chan bool
}

// Start asks for all that r says, without waiting for the answers, in OpenSSH's
// order (clientloop.c, client_session2_setup). The channel is the session's from
// then on, but for window changes and breaks; it was opened with Options.Requests
// and Options.Stderr.
func Start(ch *mux.Channel, r Request) (*Session, error) {
	s := &Session{ch: ch, req: r}
	var err error
	if r.PTY != nil {
		if s.pty, err = ch.Ask(wire.RequestPty, r.PTY.Append(nil)); err != nil {
			return nil, err
		}
	}
	for _, e := range r.Env {
		if _, err := ch.SendRequest(context.Background(), wire.RequestEnv, false, e.Append(nil)); err != nil {
			return nil, err
		}
	}
	var body []byte
	if r.Command != "" || r.Subsystem {
		body = (&wire.Text{Value: r.Command}).Append(nil)
	}
	s.started, err = ch.Ask(r.kind(), body)
	return s, err
}

// Streams are where a session's data comes from and goes to.
type Streams struct {
	// In is read until its end; nil ends at once. A reader that never ends is
	// abandoned in its Read when the session ends: who calls Run ends it.
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// NoPTY is called when the server refuses the pseudo-terminal. The session
	// goes on without, or ends with the error. Nil: it goes on.
	NoPTY func() error
	// OutEnded is called when the server will send nothing more for Out. Nil:
	// nobody wants to know.
	OutEnded func()
}

// Exit is how a command ended.
type Exit struct {
	Known  bool   // the server said it
	Status int    // of exit-status
	Signal string // of exit-signal, without SIG; from the peer, not sanitised
}

// Run copies until the channel has ended, and returns how the command did. When
// ctx ends, or Escapes end the session, it closes the channel and returns why.
// What can't be written to Out or Err is dropped, and the server told for Out
// (eow@openssh.com); the first such error is returned apart from err.
//
// Goroutines: two that copy out, one that takes the server's requests, one that
// awaits its answers. Run waits for them, but when ctx has ended not for those
// that copy, which then end with the write that they are in. The one that reads In
// ends with In, or with its next read after the session's end.
func (s *Session) Run(ctx context.Context, std Streams) (exit Exit, unwritten, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer s.ch.Close()
	stop := context.AfterFunc(ctx, func() { s.ch.Close() })
	defer stop()
	// The command at the server hears of it at its next write (OpenSSH
	// PROTOCOL, section 2.1).
	endOfWrite := func() { s.ch.SendRequest(ctx, wire.RequestEOW, false, nil) }
	out, errs := &dropping{w: std.Out, failed: endOfWrite}, &dropping{w: std.Err, failed: func() {}}
	var control, output sync.WaitGroup
	control.Go(func() { exit = s.requests(ctx) })
	control.Go(func() {
		if err := s.Answers(ctx, std.NoPTY); err != nil {
			cancel(err)
		}
	})
	output.Go(func() {
		s.ch.WriteTo(out)
		if std.OutEnded != nil {
			std.OutEnded()
		}
	})
	output.Go(func() { io.Copy(errs, s.ch.Stderr()) })
	if std.In == nil {
		s.ch.CloseWrite()
	} else {
		go s.copyIn(std.In, cancel)
	}
	written := make(chan struct{})
	go func() { // ends with output
		output.Wait()
		close(written)
	}()
	control.Wait()
	select {
	case <-written:
		unwritten = cmp.Or(out.err, errs.err)
	case <-ctx.Done():
	}
	return exit, unwritten, context.Cause(ctx)
}

// copyIn sends In and its end. A reader that fails has ended too, as for ssh.
func (s *Session) copyIn(in io.Reader, cancel context.CancelCauseFunc) {
	if _, err := s.ch.ReadFrom(in); errors.Is(err, ErrTerminated) {
		cancel(err)
		return
	}
	s.ch.CloseWrite()
}

// dropping is a writer that never fails: from its first error on it drops what
// comes, so that the other stream goes on.
type dropping struct {
	w      io.Writer
	failed func()
	err    error
}

func (d *dropping) Write(p []byte) (int, error) {
	if d.err == nil {
		if _, d.err = d.w.Write(p); d.err != nil {
			d.failed()
		}
	}
	return len(p), nil
}

// requests takes the server's requests until the channel has ended, and returns
// how the command did.
func (s *Session) requests(ctx context.Context) (exit Exit) {
	for {
		select {
		case r, open := <-s.ch.Requests():
			if !open {
				return exit
			}
			r.Reply(exit.read(r))
		case <-ctx.Done():
			return exit
		}
	}
}

// read takes over a request that tells of the end, and reports whether we know
// what it means.
func (e *Exit) read(r *mux.Request) bool {
	switch r.Type {
	case wire.RequestExitStatus:
		var body wire.ExitStatus
		if wire.ParseBody(r.Data, &body) != nil {
			return false
		}
		*e = Exit{Known: true, Status: int(body.Status)}
	case wire.RequestExitSignal:
		var body wire.ExitSignal
		if wire.ParseBody(r.Data, &body) != nil {
			return false
		}
		*e = Exit{Known: true, Signal: body.Signal}
	default:
		return r.Type == wire.RequestEOW
	}
	return true
}

// Answers waits for the server's answers to what Start asked for, or for ctx's end.
// When the pseudo-terminal is refused, it calls noPTY, which may be nil, and returns
// its error. A command that is refused is a *RefusedError. Who calls Run need not
// call it.
func (s *Session) Answers(ctx context.Context, noPTY func() error) error {
	if s.pty != nil && refused(ctx, s.pty) && noPTY != nil {
		if err := noPTY(); err != nil {
			return err
		}
	}
	if refused(ctx, s.started) {
		return &RefusedError{s.req.kind(), s.req.Command}
	}
	return nil
}

func refused(ctx context.Context, answer <-chan bool) bool {
	select {
	case ok, answered := <-answer:
		return answered && !ok
	case <-ctx.Done():
		return false
	}
}
