package ssm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/xtaci/smux"

	"github.com/adit-ssh/adit/internal/ssmsession"
)

// muxConfig has smux's limits, which the agent has too: 32 KiB in a frame, and
// 4 MiB received and not read for all streams together. One that nobody reads can
// so stop the others; smux has no window of their own.
func muxConfig(keepAlive bool) *smux.Config {
	c := smux.DefaultConfig()
	c.KeepAliveDisabled = !keepAlive
	return c
}

// mux is a session that carries streams. Each is a connection of the agent's to
// the target.
type mux struct {
	session *ssmsession.Session
	smux    *smux.Session
	explain func(error) error // makes what ended the session an Error
	telling sync.WaitGroup    // of a trace that the session has ended
}

func (s *Service) newMux(session *ssmsession.Session, target string) (*mux, error) {
	m, err := smux.Client(session, muxConfig(session.KeepAlive()))
	if err != nil {
		session.Close()
		return nil, err
	}
	return &mux{session: session, smux: m, explain: func(err error) error { return s.fail("session with", target, err) }}, nil
}

// traced has the end of the session in a trace. close waits for that.
func (m *mux) traced(s *span) *mux {
	m.telling.Go(func() {
		<-m.session.Done()
		s.end(m.session.Err())
	})
	return m
}

func (m *mux) open() (net.Conn, error) {
	c, err := m.smux.OpenStream()
	if err != nil {
		return nil, errors.Join(m.session.Err(), err)
	}
	return &stream{Stream: c, mux: m, refused: m.session.Refusals()}, nil
}

// alive reports whether streams can be opened.
func (m *mux) alive() bool {
	select {
	case <-m.session.Done():
		return false
	default:
		return m.session.Err() == nil && !m.smux.IsClosed()
	}
}

func (m *mux) close() error {
	err := m.session.Close()
	m.smux.Close()
	m.telling.Wait()
	return err
}

// stream is one connection over a mux. There is no half-close: when the target
// ends its direction, both are over.
type stream struct {
	*smux.Stream
	mux     *mux
	refused int // refusals of the session's when it was opened

	mu  sync.Mutex
	got bool // guarded by mu: something was read
}

// Read tells a target that was not reached, or has closed, from a session that has
// ended under the stream: only the second is io.EOF.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 {
		s.got = true
	}
	if err != nil && !s.got && s.mux.session.Refusals() > s.refused {
		return n, &net.OpError{Op: "dial", Net: "ssm", Err: errUnreached}
	}
	return n, s.explain(err)
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	return n, s.explain(err)
}

// explain turns smux's errors into those of a net.Conn.
func (s *stream) explain(err error) error {
	if err == nil {
		return nil
	}
	if ended := s.mux.session.Err(); ended != nil {
		return s.mux.explain(ended)
	}
	switch {
	case errors.Is(err, smux.ErrTimeout):
		return os.ErrDeadlineExceeded
	case err == io.EOF && s.mux.smux.IsClosed():
		return io.ErrUnexpectedEOF // smux says the same of both
	}
	return err
}

var errUnreached = errors.New("the node can't connect to that host and port")

// soleStream ends its session with it.
type soleStream struct {
	net.Conn
	mux *mux
}

func (s *soleStream) Close() error {
	// What was written is in the session by then, whose Close sees to it.
	err := s.Conn.Close()
	return errors.Join(err, s.mux.close())
}

// Tunnel is a way to one host and port behind a managed node, for any number of
// connections: over one session where the agent multiplexes, and a session each
// where it does not.
type Tunnel struct {
	service *Service
	o       Options

	mu      sync.Mutex
	mux     *mux          // guarded by mu; nil before the first
	opening chan struct{} // guarded by mu: closed when a session has come up, or not
	closed  bool          // guarded by mu
}

// Tunnel starts a session, so that what is wrong shows now. Its sessions are
// replaced when they end. In a trace each is a connection of its own.
func (s *Service) Tunnel(ctx context.Context, o Options) (*Tunnel, error) {
	t := &Tunnel{service: s, o: o}
	m, err := t.start(ctx)
	if err != nil {
		return nil, err
	}
	t.mux = m
	return t, nil
}

// start starts a session; nil without an error if the agent does not multiplex, so that
// one for each connection is started then.
func (t *Tunnel) start(ctx context.Context) (*mux, error) {
	ctx, span := newSpan(ctx, t.o.Target)
	session, err := t.service.start(ctx, t.o, documentForward)
	if err != nil {
		span.end(err)
		return nil, err
	}
	if !session.Multiplexed() {
		session.Close()
		span.end(nil)
		return nil, nil
	}
	m, err := t.service.newMux(session, t.o.Target)
	if err != nil {
		span.end(err)
		return nil, t.service.fail("smux", t.o.Target, err)
	}
	return m.traced(span), nil
}

// alone opens a connection with a session of its own.
func (t *Tunnel) alone(ctx context.Context) (net.Conn, error) {
	ctx, span := newSpan(ctx, t.o.Target)
	c, err := t.service.dial(ctx, t.o, documentForward)
	if err != nil {
		span.end(err)
		return nil, err
	}
	return &aloneConn{Conn: c, end: sync.OnceFunc(func() { span.end(nil) })}, nil
}

// aloneConn tells a trace of its end.
type aloneConn struct {
	net.Conn
	end func()
}

// Close implements net.Conn.
func (c *aloneConn) Close() error {
	defer c.end()
	return c.Conn.Close()
}

// Shared reports whether connections go over one session together. Where they do
// not, each has one of its own.
func (t *Tunnel) Shared() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mux != nil
}

// Dial opens a connection. ctx bounds that only.
func (t *Tunnel) Dial(ctx context.Context) (net.Conn, error) {
	for {
		t.mu.Lock()
		m, wait := t.mux, t.opening
		switch {
		case t.closed:
			t.mu.Unlock()
			return nil, net.ErrClosed
		case m != nil && m.alive():
			t.mu.Unlock()
			c, err := m.open()
			if err == nil {
				return c, nil
			}
			if m.alive() {
				return nil, t.service.fail("session with", t.o.Target, err)
			}
			continue
		case m == nil && wait == nil:
			t.mu.Unlock()
			return t.alone(ctx)
		case wait == nil:
			done := make(chan struct{})
			t.opening = done
			t.mu.Unlock()
			err := t.renew(ctx, m)
			t.mu.Lock()
			t.opening = nil
			t.mu.Unlock()
			close(done)
			if err != nil {
				return nil, err
			}
			continue
		}
		t.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// renew starts a session in place of one that has ended.
func (t *Tunnel) renew(ctx context.Context, old *mux) error {
	old.close()
	m, err := t.start(ctx)
	if err == nil && m == nil {
		err = fmt.Errorf("the agent of %s no longer multiplexes", t.o.Target)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		go m.close() // ends within seconds; nobody waits for it
		return net.ErrClosed
	}
	t.mux = m
	return nil
}

// Close ends the tunnel's session and the connections over it.
func (t *Tunnel) Close() error {
	t.mu.Lock()
	t.closed = true
	m := t.mux
	t.mu.Unlock()
	if m == nil {
		return nil
	}
	return m.close()
}
