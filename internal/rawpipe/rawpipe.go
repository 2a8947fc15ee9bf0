package rawpipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
)

// Timeout is how long a client waits for the first byte at most, if nothing else
// is said. libssh gives up after 10 s and then has nothing to show.
const Timeout = 8 * time.Second

// linger is how long we wait for the client to read what we told it: it may
// still be writing its own version line, and would report that this failed.
const linger = 2 * time.Second

// ErrClientGone is why Run ends when nobody reads Out any more.
var ErrClientGone = errors.New("the client has gone")

// Pipe is one run of a ProxyCommand. All fields are read only.
//
//	     Dial ──fails──► tell ──► linger
//	      │
//	first byte ─none───► tell ──► linger
//	      │
//	  both ways ─► the client's end: at once; the server's end: what it sent first
type Pipe struct {
	// In and Out are standard input and output, which may be one socket.
	In  io.Reader
	Out io.Writer
	// CloseOut tells the client that nothing more comes, and leaves In open.
	CloseOut func() error
	// Gone is closed when nobody reads Out any more; nil if that can't be known.
	// The client's last bytes may then take Drain until they are sent; 0 is 50 ms.
	Gone  <-chan struct{}
	Drain time.Duration
	// Dial reaches the server. The connection has CloseWrite.
	Dial func(context.Context) (net.Conn, error)
	// Timeout bounds the time until the server's first byte, and with NotSSH
	// until the connection is there. 0 is for ever. Who may ask a person meanwhile
	// gives the Clock in place of it.
	Timeout time.Duration
	Clock   *Clock
	// NotSSH says that the client may speak anything: nothing is told in band,
	// the server need not speak first, and EOF from the client is passed on as a
	// half-close.
	NotSSH bool
	// Clean leaves out what comes before the server's version line, for carriers
	// that print there. Skipped, if not nil, gets each line, printable.
	Clean   bool
	Skipped func(line string)
	// Program is told in the version line. Hint says what to do about an error.
	Program string
	Hint    func(error) string
	// Telling, if not nil, is called before the client is told of an error, which
	// may end us at once. It must not wait long.
	Telling func(error)
}

// Run reaches the server and copies both ways until one of them ends. It returns
// nil when the server has ended the connection or the client did, and at once
// with ctx's cause when ctx is done.
//
// Without NotSSH, and unless what the client sends is not SSH after all, EOF from
// the client ends it: SSH clients never half-close, so this one is gone.
//
// What waits for In, for Out or for a Dial that does not look at its context can't
// be woken: such a goroutine may outlive Run, and ends when what it waits for
// does. A program ends them by ending.
func (p *Pipe) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	in := startInput(p.In)
	var watch sync.WaitGroup
	over := make(chan struct{})
	defer func() {
		cancel(nil)
		close(over)
		watch.Wait()
		in.stop()
	}()
	watch.Go(func() {
		begun := in.begun
		for {
			select {
			case <-over:
				return
			case <-p.Gone:
				p.drain(in, over)
				cancel(ErrClientGone)
				return
			case <-begun:
				if len(in.head) == 0 && !p.NotSSH {
					cancel(ErrClientGone) // before it has said a word
					return
				}
				begun = nil
			}
		}
	})
	err := p.run(ctx, in)
	if err != nil && ctx.Err() != nil && !in.told {
		err = context.Cause(ctx)
	}
	if errors.Is(err, ErrClientGone) {
		return nil
	}
	return err
}

// drain waits for what the client has sent before it went.
func (p *Pipe) drain(in *input, over <-chan struct{}) {
	timeout := time.NewTimer(cmp.Or(p.Drain, 50*time.Millisecond))
	defer timeout.Stop()
	select {
	case <-in.ended:
	case <-over:
	case <-timeout.C:
	}
}

func (p *Pipe) run(ctx context.Context, in *input) error {
	limited, stop := cmp.Or(p.Clock, NewClock(p.Timeout)).Limit(ctx)
	defer stop()
	conn, err := p.dial(limited)
	if err != nil {
		return p.tell(ctx, in, err)
	}
	// Closing may wait, for TLS: Run does not when it is told to end.
	closed := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if closed() {
			conn.Close()
		}
	}()
	in.sink <- conn
	arrived := make(chan error, 1)
	go func() { arrived <- p.receive(ctx, limited, conn, in) }() // ends with conn or Out

	fromClient := in.ended
	serverEnded := false
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-arrived:
			if silent, ok := errors.AsType[*SilentError](err); ok {
				return p.tell(ctx, in, silent)
			}
			if p.CloseOut != nil {
				p.CloseOut()
			}
			if err != nil || fromClient == nil || in.ssh(p.NotSSH) {
				return err
			}
			serverEnded, arrived = true, nil // what is no SSH may still be sending
		case err := <-in.failed:
			// The server's last words may say why, or that there were none.
			select {
			case last := <-arrived:
				if silent, ok := errors.AsType[*SilentError](last); ok {
					return p.tell(ctx, in, silent)
				}
			case <-ctx.Done():
			case <-time.After(linger):
			}
			return err
		case <-fromClient:
			if serverEnded {
				return nil
			}
			if in.ssh(p.NotSSH) {
				return ErrClientGone
			}
			if h, ok := conn.(interface{ CloseWrite() error }); ok {
				h.CloseWrite()
			}
			fromClient = nil
		}
	}
}

// abandon is how long a Dial may take to name its stage when its time is over.
const abandon = 50 * time.Millisecond

// dial does not wait for a Dial that does not look at its context.
func (p *Pipe) dial(ctx context.Context) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	dialled, given := make(chan result), make(chan struct{})
	defer close(given)
	go func() { // ends with Dial
		conn, err := p.Dial(ctx)
		select {
		case dialled <- result{conn, err}:
		case <-given:
			if err == nil {
				conn.Close()
			}
		}
	}()
	select {
	case r := <-dialled:
		return r.conn, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-dialled:
		return r.conn, r.err
	case <-time.After(abandon):
		return nil, fmt.Errorf("on the way to the server: %w", context.Cause(ctx))
	}
}

// tell ends in failure. An SSH client that has seen no byte is told in band.
func (p *Pipe) tell(ctx context.Context, in *input, err error) error {
	if ctx.Err() != nil || !in.ssh(p.NotSSH) {
		return err
	}
	in.told = true
	if p.Telling != nil {
		p.Telling(err)
	}
	text := "adit: " + err.Error()
	if p.Hint != nil {
		if h := p.Hint(err); h != "" {
			text += " (" + h + ")"
		}
	}
	written := make(chan struct{})
	go func() { // ends with Out
		defer close(written)
		p.Out.Write(AppendDisconnect(nil, p.Program, text))
	}()
	select {
	case in.sink <- io.Discard:
	default: // it has the connection, which fails
	}
	timeout := time.NewTimer(linger)
	defer timeout.Stop()
	for _, done := range []<-chan struct{}{written, in.ended} {
		select {
		case <-done:
		case <-p.Gone:
			return err
		case <-ctx.Done():
			return err
		case <-timeout.C:
			return err
		}
	}
	return err
}

// SilentError is a server that is connected to and sends nothing of use.
type SilentError struct{ Err error }

func (e *SilentError) Error() string { return "wait for the server's version line: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SilentError) Unwrap() error { return e.Err }

// receive copies from conn to Out. An SSH server's first byte must come before
// limited ends.
func (p *Pipe) receive(ctx, limited context.Context, conn net.Conn, in *input) error {
	buf := make([]byte, bufferSize)
	if in.ssh(p.NotSSH) {
		if err := p.receiveFirst(ctx, limited, conn, in, buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			if err := p.write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("from the server: %w", err)
		}
	}
}

// write gives the client bytes of the server's.
func (p *Pipe) write(b []byte) error {
	switch _, err := p.Out.Write(b); {
	case relay.PeerGone(err):
		return ErrClientGone
	case err != nil:
		return fmt.Errorf("to the client: %w", err)
	}
	return nil
}

// receiveFirst copies the first bytes that the client may see. For a client that
// turns out to speak something else it ends without an error.
func (p *Pipe) receiveFirst(ctx, limited context.Context, conn net.Conn, in *input, buf []byte) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(limited, func() {
		defer close(woken)
		conn.SetReadDeadline(time.Unix(1, 0))
	})
	n, err := 0, error(nil)
	if p.Clean {
		n, err = clean(conn, buf, in.version, p.Skipped)
	} else {
		for n == 0 && err == nil {
			n, err = conn.Read(buf)
		}
	}
	if !stop() {
		<-woken
	}
	if ctx.Err() == nil {
		conn.SetReadDeadline(time.Time{})
	}
	switch late := errors.Is(err, os.ErrDeadlineExceeded); {
	case n > 0:
		return p.write(buf[:n])
	case !in.ssh(false) && late:
		return nil
	case !in.ssh(false):
		return err
	case late:
		return &SilentError{context.Cause(limited)}
	case err == io.EOF:
		return &SilentError{ErrSilent}
	}
	return &SilentError{plain(err)}
}

// plain takes off what net's errors say of addresses, which are the proxy's as
// often as the server's.
func plain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err
}

// ErrSilent is a server that closes the connection before its first byte.
var ErrSilent = errors.New("the server closed the connection without a byte")
