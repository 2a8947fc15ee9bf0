package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-ssh/adit/internal/unixsock"
	"github.com/adit-ssh/adit/trace"
)

// Agent is what a Server lets others use: a *Keyring or a *Proxy.
type Agent interface {
	// connect tells record, unless it is nil, of each request before it is answered. An
	// error has it refused.
	connect(record func(Request) error) answerer
}

// answerer is a connection to an Agent.
type answerer interface {
	Answer(ctx context.Context, request []byte) []byte
}

// Server lets programs use an Agent, as ssh-agent does: each connection has its
// own memory of bindings, and its requests are answered in their order. A request
// that makes no sense is refused; a length that makes none ends its connection, and
// nothing else.
//
// Goroutines: two for each connection, which end with it, and which Serve waits for.
type Server struct {
	Agent Agent
	// Log is told of each request, and why it was refused, if it was. It is called by
	// several goroutines at once. Nil: nobody wants to know.
	Log func(Request)
	// Audit is told the same before anybody learns the answer, and of requests that
	// will change the agent before that, too (Request.Begun). An error has the request
	// refused. It is called by several goroutines at once. Nil: nobody wants to know.
	Audit func(Request) error
	// Tracer receives each connection's messages, without secrets, and what was
	// decided. Nil: nobody wants to know.
	Tracer trace.Tracer

	connections atomic.Uint64
}

// Peer is who is at the other end of a unix socket.
type Peer struct {
	PID int    // 0 when the system does not say
	UID int    // -1 when the system does not say
	Exe string // the program's path; "" when the system does not say
}

// errStranger is a connection by another user's process: the socket's mode should
// have kept it out.
var errStranger = errors.New("another user's process has connected")

// acceptPause is how long Serve waits after an error, such as that there are no
// descriptors left.
const acceptPause = 100 * time.Millisecond

// Serve answers connections to l until l is closed, and then until they have ended.
// When ctx ends, it closes all of them. On unix sockets only processes of our own
// user and root's are let in (OpenSSH, ssh-agent.c, handle_socket_read). It returns nil after l was
// closed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			s.record(Request{Peer: Peer{UID: -1}, Operation: "accept", Err: err})
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		connections.Go(func() {
			defer nc.Close()
			s.ServeConn(ctx, nc)
		})
	}
}

// ServeConn answers one connection until it ends, or ctx. It does not close it.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	pid, uid, err := unixsock.PeerOf(nc)
	peer := Peer{pid, uid, exeOf(pid)}
	number := s.connections.Add(1)
	record := func(r Request) error {
		r.Peer, r.Connection = peer, number
		return s.record(r)
	}
	if err == nil && !allowed(peer) {
		err = fmt.Errorf("%w: uid %d, pid %d", errStranger, peer.UID, peer.PID)
	}
	if err != nil {
		record(Request{Operation: "connect", Err: err})
		return
	}
	// One that has said all it wants may still wait for the answer; only a person is
	// not asked for it any more.
	asking, hangUp := context.WithCancel(ctx)
	defer hangUp()
	requests, done := make(chan []byte), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(requests)
		defer hangUp()
		for {
			request, err := readFrame(nc)
			if errors.Is(err, errFrame) {
				record(Request{Operation: "message", Err: err})
			}
			if err != nil {
				return
			}
			select {
			case requests <- request:
			case <-done:
				clear(request)
				return
			}
		}
	})
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer reader.Wait()
	defer stop()
	defer nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	defer close(done)

	rec := s.trace(peer)
	defer rec.end()
	c := s.Agent.connect(func(r Request) error {
		err := record(r)
		if err != nil {
			r.Err, r.Begun = err, false // that was it
		}
		rec.decided(r)
		return err
	})
	for request := range requests {
		rec.request(request)
		reply := c.Answer(asking, request)
		clear(request) // it may be a private key
		rec.reply(reply)
		if writeFrame(nc, reply) != nil {
			return
		}
	}
}

// record tells who wants to know. Its error is why the request must not be answered.
func (s *Server) record(r Request) (err error) {
	if s.Audit != nil {
		if err = s.Audit(r); err != nil {
			err = &AuditError{err}
			r.Err = err
		}
	}
	if s.Log != nil && (!r.Begun || err != nil) {
		s.Log(r)
	}
	return err
}

// AuditError is why a request was refused that was to be recorded first.
type AuditError struct{ Err error }

func (e *AuditError) Error() string { return "the audit can't be written: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *AuditError) Unwrap() error { return e.Err }

// Add puts a key into the ring, as a request of a program here would.
func (r *Keyring) Add(k AddedKey) error {
	request, err := k.append(nil)
	if err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	defer clear(request)
	if err := r.NewConnection().add(request[1:], &Request{}); err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	return nil
}

// allowed says whether a process may use our keys.
func allowed(p Peer) bool { return p.UID == -1 || p.UID == 0 || p.UID == os.Geteuid() }
