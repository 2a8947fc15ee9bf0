// Package relay holds what every forwarder does once both ends are there: Pipe,
// the one bidirectional copy of adit, and Outcome, which translates why an end
// is not there between errno, SSH, SOCKS and HTTP.
//
// Pipe keeps half-closes, as a direct TCP connection would: the end of stream
// one way is passed on and never ends the other way. A failure of either end
// ends both, and is passed on as a reset where the socket can say that. Nothing
// here knows SSH: a channel is a Conn which happens to read from sockets and
// write to them faster than Pipe could (io.ReaderFrom, io.WriterTo).
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Conn is a connection whose directions end separately.
type Conn interface {
	net.Conn
	// CloseWrite tells the peer that nothing more will come: FIN for TCP, EOF
	// for an SSH channel. Reading goes on.
	CloseWrite() error
}

// closeNotifier is a Conn that knows when its peer has closed it altogether,
// as CHANNEL_CLOSE does after CHANNEL_EOF. TCP can't tell.
type closeNotifier interface {
	Closed() <-chan struct{}
}

// splitter is a Conn made of a reader and a writer, which the other end's fast
// paths want to see themselves.
type splitter interface {
	Split() (io.Reader, io.Writer)
}

// Result is what became of a Pipe.
type Result struct {
	Out int64 // bytes from local to remote
	In  int64 // bytes from remote to local
	// Err is nil when both directions ended with an end of stream. Otherwise it
	// names the direction that failed first.
	Err error
}

// Pipe copies both ways between local and remote until both directions have
// ended, closes both and returns. head, which may be empty, was read from local
// before and is sent first.
//
// When ctx is done or a direction fails, both ends are closed at once; a TCP
// end whose stream was cut short by that gets a reset instead of an end of
// stream. When remote tells that its peer has closed it, local is closed
// without waiting for the end of what it sends, as OpenSSH does.
//
// Pipe uses the calling goroutine and one more, which has ended when it
// returns. While neither end has data, no buffer is held, provided that remote
// has ReadFrom and WriteTo methods which hold none.
func Pipe(ctx context.Context, local, remote Conn, head []byte) Result {
	p := &pipe{local: local, remote: remote}
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(aborted)
		p.fail(context.Cause(ctx))
	})

	var wg sync.WaitGroup
	outDone := make(chan struct{})
	wg.Go(func() { p.in(outDone) })
	p.out(head)
	close(outDone)
	wg.Wait()

	if !stop() {
		<-aborted
	}
	return p.finish()
}

// pipe is a running Pipe.
type pipe struct {
	local, remote Conn

	outBytes, inBytes int64 // Owned by out and in until they have ended.

	// Guarded by mu.
	mu       sync.Mutex
	outEnded bool // local's end of stream was passed on
	inEnded  bool // remote's end of stream was passed on
	closed   bool // both ends were closed
	err      error
}

// out copies from local to remote.
func (p *pipe) out(head []byte) {
	if len(head) > 0 {
		n, err := p.remote.Write(head)
		p.outBytes = int64(n)
		if err != nil {
			p.fail(fmt.Errorf("to remote: %w", err))
			return
		}
	}
	src, _ := split(p.local)
	n, err := send(p.remote, src)
	p.outBytes += n
	if err == nil {
		// Marked first: what comes back may end the whole connection.
		p.ended(&p.outEnded)
		err = p.remote.CloseWrite()
	}
	if err != nil {
		p.fail(fmt.Errorf("local to remote: %w", err))
	}
}

// in copies from remote to local. It then waits for out, or for remote to be
// closed by its peer, which nobody else would notice while local is silent.
func (p *pipe) in(outDone <-chan struct{}) {
	_, dst := split(p.local)
	n, err := receive(dst, p.remote)
	p.inBytes = n
	if err == nil {
		p.ended(&p.inEnded)
		err = p.local.CloseWrite()
	}
	if err != nil {
		p.fail(fmt.Errorf("remote to local: %w", err))
		return
	}
	if c, ok := p.remote.(closeNotifier); ok {
		select {
		case <-outDone:
		case <-c.Closed():
			p.fail(nil)
		}
	}
}

func (p *pipe) ended(direction *bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*direction = true
}

// fail closes both ends, which ends both directions. Only the first call
// counts: the errors that come after it are its doing.
func (p *pipe) fail(err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed, p.err = true, err
	cutLocal, cutRemote := !p.inEnded, !p.outEnded && err != nil
	p.mu.Unlock()

	if cutLocal {
		Reset(p.local)
	} else {
		p.local.Close()
	}
	if cutRemote {
		Reset(p.remote)
	} else {
		p.remote.Close()
	}
}

// finish closes both ends after an orderly end, and says how it went.
func (p *pipe) finish() Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	res := Result{Out: p.outBytes, In: p.inBytes, Err: p.err}
	if !p.closed {
		p.closed = true
		res.Err = errors.Join(p.local.Close(), p.remote.Close())
	}
	return res
}

// Reset closes c so that the peer sees a failure and no end of stream, where c
// can tell the difference: RST for TCP.
func Reset(c net.Conn) error {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		l.SetLinger(0)
	}
	return c.Close()
}

func split(c Conn) (io.Reader, io.Writer) {
	if s, ok := c.(splitter); ok {
		return s.Split()
	}
	return c, c
}
