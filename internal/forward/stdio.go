package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/trace"
)

// Stdio forwards in and out to spec's target, as -W does. The end of in is
// passed on as EOF and the answer still arrives. The end of what the server
// sends closes out, or only its sending direction if out has CloseWrite, and
// ends Stdio without waiting for the end of in: as OpenSSH has it, so that no
// proxy command outlives its server. So does ctx.
//
// in and out may be anything. If a Read or Write that blocks can't be
// interrupted, as with a terminal, it may outlive Stdio, in one goroutine each.
// Deadlines on in and out are used where there are any.
func Stdio(ctx context.Context, spec Spec, in io.Reader, out io.Writer, cfg Config) error {
	e := trace.Forward{What: "accept", Target: spec.target(), Originator: "standard input"}
	trace.Emit(cfg.Tracer, e)
	remote, err := cfg.connect(ctx, spec, noOriginator)
	if err != nil {
		e.What, e.Err = "refused", err.Error()
		trace.Emit(cfg.Tracer, e)
		return fmt.Errorf("forward to %s: %w", spec.target(), err)
	}
	e.What = "open"
	trace.Emit(cfg.Tracer, e)
	local := newStdio(in, out)
	res := relay.Pipe(ctx, local, remote, nil)
	local.restore()
	if local.ended.Load() && ctx.Err() == nil {
		res.Err = nil // That in was cut off was our doing.
	}
	e.What, e.In, e.Out = "done", res.In, res.Out
	if res.Err != nil {
		e.Err = res.Err.Error()
	}
	trace.Emit(cfg.Tracer, e)
	if res.Err != nil {
		return fmt.Errorf("forward to %s: %w", spec.target(), res.Err)
	}
	return nil
}

// stdio makes a relay.Conn of a reader and a writer. Close interrupts both
// without closing in.
type stdio struct {
	in  source
	out sink

	ended atomic.Bool // all of the server's data was written
}

// source is a reader whose Read can be made to return.
type source interface {
	io.Reader
	interrupt()
}

// sink is a writer whose Write can be made to return.
type sink interface {
	io.Writer
	interrupt()
	// finish says that nothing more will be written, and waits until all is.
	finish() error
}

func newStdio(in io.Reader, out io.Writer) *stdio {
	s := &stdio{}
	if d, ok := in.(readDeadliner); ok && d.SetReadDeadline(time.Time{}) == nil {
		s.in = timedSource{in, d}
	} else {
		s.in = pumpFrom(in)
	}
	if d, ok := out.(writeDeadliner); ok && d.SetWriteDeadline(time.Time{}) == nil {
		s.out = timedSink{out, d}
	} else {
		s.out = pumpTo(out)
	}
	return s
}

// Split lets a channel's fast paths see what it can be of use to them.
func (s *stdio) Split() (io.Reader, io.Writer) {
	var r io.Reader = s.in
	if t, ok := s.in.(timedSource); ok {
		r = t.Reader
	}
	var w io.Writer = s.out
	if t, ok := s.out.(timedSink); ok {
		w = t.Writer
	}
	return r, w
}

func (s *stdio) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *stdio) Write(p []byte) (int, error) { return s.out.Write(p) }

// CloseWrite is called when the server has sent its last.
func (s *stdio) CloseWrite() error {
	if err := s.out.finish(); err != nil {
		return err
	}
	s.ended.Store(true)
	s.in.interrupt()
	return nil
}

func (s *stdio) Close() error {
	s.in.interrupt()
	s.out.interrupt()
	return nil
}

// restore takes back the deadlines that Close has set: in and out are not ours.
func (s *stdio) restore() {
	if t, ok := s.in.(timedSource); ok {
		t.SetReadDeadline(time.Time{})
	}
	if t, ok := s.out.(timedSink); ok {
		t.SetWriteDeadline(time.Time{})
	}
}

func (s *stdio) LocalAddr() net.Addr              { return stdioAddr{} }
func (s *stdio) RemoteAddr() net.Addr             { return stdioAddr{} }
func (s *stdio) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (s *stdio) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (s *stdio) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return "standard input and output" }

type readDeadliner interface{ SetReadDeadline(time.Time) error }

type writeDeadliner interface{ SetWriteDeadline(time.Time) error }

// past is a deadline that has been missed.
var past = time.Unix(1, 0)

// timedSource is a reader that heeds deadlines: a socket, or a file that can be
// waited for.
type timedSource struct {
	io.Reader
	readDeadliner
}

func (s timedSource) interrupt() { s.SetReadDeadline(past) }

type timedSink struct {
	io.Writer
	writeDeadliner
}

func (s timedSink) interrupt()    { s.SetWriteDeadline(past) }
func (s timedSink) finish() error { return closeOut(s.Writer) }

// pumpedSource is a reader that a goroutine reads ahead of us, which can be
// left behind.
type pumpedSource struct{ *io.PipeReader }

func pumpFrom(in io.Reader) source {
	r, w := io.Pipe()
	go func() { // Ends when in does, or when it has read something nobody wants.
		_, err := io.Copy(w, in)
		w.CloseWithError(err)
	}()
	return pumpedSource{r}
}

func (s pumpedSource) interrupt() { s.CloseWithError(net.ErrClosed) }

// pumpedSink is a writer that a goroutine writes behind us, which can be left
// behind.
type pumpedSink struct {
	*io.PipeWriter
	r       *io.PipeReader
	out     io.Writer
	written chan struct{} // closed when the goroutine has ended
	stop    chan struct{} // closed by interrupt
	once    *sync.Once
	err     *error // Owned by the goroutine until written is closed.
}

func pumpTo(out io.Writer) sink {
	r, w := io.Pipe()
	s := pumpedSink{w, r, out, make(chan struct{}), make(chan struct{}), new(sync.Once), new(error)}
	go func() { // Ends with finish or interrupt, or when the write it is in does.
		defer close(s.written)
		_, *s.err = io.Copy(out, r)
		r.CloseWithError(*s.err)
	}()
	return s
}

func (s pumpedSink) interrupt() {
	s.r.CloseWithError(net.ErrClosed)
	s.once.Do(func() { close(s.stop) })
}

func (s pumpedSink) finish() error {
	s.PipeWriter.Close()
	select {
	case <-s.written:
	case <-s.stop:
		return net.ErrClosed
	}
	if *s.err != nil {
		return *s.err
	}
	return closeOut(s.out)
}

// closeOut tells whoever reads out that nothing more will come. A file that is
// a socket is shut down first: as long as another descriptor has it open, such
// as our standard input, closing tells nobody.
func closeOut(out io.Writer) error {
	if c, ok := out.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	if f, ok := out.(*os.File); ok {
		shutdownFile(f)
	}
	if c, ok := out.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
