package ssmsession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

// Messages is one WebSocket on which the data channel was opened, or what stands
// for it.
type Messages interface {
	// ReadMessage returns the next binary message, which stays as it is until the
	// next call. It is called by one goroutine.
	ReadMessage() ([]byte, error)
	// WriteMessage sends a message, which it does not keep, at the latest when
	// Flush is called. Both are called by one goroutine.
	WriteMessage(b []byte) error
	Flush() error
	// Close ends it and wakes the others. It may be called at any time, more than
	// once.
	Close() error
}

// Options say how a session goes. Connect must be set.
type Options struct {
	// Connect opens the data channel: the first time with what StartSession
	// answered, from then on (again) after a ResumeSession. An error that wraps
	// ErrOver means that there is nothing to resume. blocked reports whether the
	// session does not read messages now, since nobody takes what they brought:
	// the gateway's silence then says nothing.
	Connect func(ctx context.Context, again bool, blocked func() bool) (Messages, error)
	// Terminate ends the session by the API, for agents that don't understand
	// the message that does, or don't answer it. Nil is not to.
	Terminate func(ctx context.Context) error
	// ResumeFor is how long to try to get a new WebSocket; 0 is 5 minutes.
	ResumeFor time.Duration
	// StallTimeout is how long nothing may be acknowledged while something waits
	// for it; 0 is 5 minutes. A target that does not read what it is sent looks
	// the same.
	StallTimeout time.Duration
	// Waiting is told, once in each time without a WebSocket, that there has been
	// none for 10 s, and why: Connect's last error. It must return soon. Nil tells
	// nobody.
	Waiting func(err error)
	// Raw asks for one plain stream from documents of type LocalPortForwarding
	// also where the agent could multiplex.
	Raw bool
	// MaxChunk is the most payload in a message, in bytes: 1024 to 65536; 0 is
	// 16384.
	MaxChunk int
}

// Defaults of Options.
const (
	resumeFor    = 5 * time.Minute
	stallTimeout = 5 * time.Minute
)

// startLimit is how long Start waits for the agent: its worker takes a second, and
// sessions that are started together wait for one another.
const startLimit = time.Minute

// ErrOver is a session that can't be resumed, because it has ended.
var ErrOver = errors.New("the session is over")

// ErrNoAnswer is wrapped by what Start returns when the agent has not done the
// handshake in time.
var ErrNoAnswer = errors.New("the agent does not answer")

// ErrTooBig is wrapped by what ReadMessage and WriteMessage return when the
// gateway closed the WebSocket for the size of a message.
var ErrTooBig = errors.New("message is too big for the gateway")

// ClosedError is a session that the gateway or the agent has ended, with what
// they say about it. Output is the peer's text, not cleaned.
type ClosedError struct{ Output string }

func (e *ClosedError) Error() string {
	if e.Output == "" {
		return "session was closed without a reason"
	}
	return "session was closed: " + e.Output
}

// ProtocolError is a gateway or an agent that does not keep to the protocol.
type ProtocolError struct{ Err error }

func (e *ProtocolError) Error() string { return "data channel: " + e.Err.Error() }

// Unwrap returns what was wrong.
func (e *ProtocolError) Unwrap() error { return e.Err }

// StalledError is an agent that no longer acknowledges what it is sent.
type StalledError struct{ Silent time.Duration }

func (e *StalledError) Error() string {
	return fmt.Sprintf("the agent has acknowledged nothing for %v", e.Silent.Round(time.Second))
}

// Timeout reports true, for net.Error.
func (e *StalledError) Timeout() bool { return true }

// Temporary reports false, for net.Error.
func (e *StalledError) Temporary() bool { return false }

// state is where a session stands; see the package's diagram.
type state int

const (
	stateGreeting state = iota // or connecting, or resuming
	stateOpen
	stateEnded
)

func (s state) String() string { return [...]string{"greeting", "open", "ended"}[s] }

// Session is a byte stream to a TCP port. It is a net.Conn without half-close.
//
// Its goroutines are one that runs it from Start until it has ended and writes,
// and one that reads each WebSocket and ends with it. Close waits for both.
type Session struct {
	// Immutable.
	o        Options
	lifetime context.Context
	stop     context.CancelFunc
	now      func() time.Time
	ackTimer *time.Timer   // wakes the writer for acks that have waited
	ready    chan struct{} // closed when the handshake is over
	done     chan struct{} // closed when our goroutines have ended
	closed   chan struct{} // closed when the first Close is over
	wake     chan struct{} // one slot: the writer is to look again

	mu      sync.Mutex
	changed sync.Cond // on mu: something that a caller waits for

	// Guarded by mu.
	state    state
	err      error // why it ended; nil is the target's EOF, or Close
	opened   bool  // the handshake went well, once
	greeted  bool
	refusal  error    // that we told the agent
	answer   *message // to the handshake request
	closing  bool     // Close was called
	over     bool     // the other side has ended it, or knows that it has ended
	cut      bool     // this WebSocket is given up
	blocked  bool     // the reader waits for Read
	in       receiver
	out      sender
	kind     ssmwire.SessionType
	customer string
	refusals int

	agentVersion string
	multiplexed  bool
	readLimit    deadline
	writeLimit   deadline
}

var _ net.Conn = (*Session)(nil)

// Start connects and does the handshake. ctx bounds that; the session lives until
// Close, or until the other side ends it.
func Start(ctx context.Context, o Options) (*Session, error) {
	if o.MaxChunk == 0 {
		o.MaxChunk = chunkDefault
	}
	if o.MaxChunk < chunkLeast || o.MaxChunk > chunkMost {
		return nil, fmt.Errorf("bad MaxChunk %d: %d to %d is due", o.MaxChunk, chunkLeast, chunkMost)
	}
	if o.ResumeFor == 0 {
		o.ResumeFor = resumeFor
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = stallTimeout
	}
	s := &Session{o: o, now: time.Now, ready: make(chan struct{}), done: make(chan struct{}), closed: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.changed.L = &s.mu
	s.lifetime, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.in.ahead, s.out.acking = map[int64]early{}, map[int64]bool{}
	s.out.window = newWindow()
	s.out.chunk, s.out.chunkLimit = chunkLeast, o.MaxChunk
	s.ackTimer = time.AfterFunc(time.Hour, s.wakeWriter)
	s.ackTimer.Stop()
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("no answer within %v", startLimit))
	defer cancel()
	go s.run()
	select {
	case <-s.ready:
		return s, nil
	case <-s.done:
		s.mu.Lock()
		opened, err := s.opened, s.err
		s.mu.Unlock()
		if opened {
			return s, nil // and it has ended since; what it sent can be read
		}
		s.Close() // the agent may have a worker for it
		return nil, err
	case <-ctx.Done():
	}
	s.mu.Lock()
	err := s.refusal
	s.mu.Unlock()
	s.Close()
	if err == nil {
		err = fmt.Errorf("%w: %w", ErrNoAnswer, context.Cause(ctx))
	}
	return nil, err
}

// AgentVersion is what the agent says that it is, such as 3.3.987.0; not cleaned.
func (s *Session) AgentVersion() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agentVersion
}

// Multiplexed reports whether the stream carries smux, version 1.
func (s *Session) Multiplexed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.multiplexed
}

// KeepAlive reports whether smux must send its keep-alive messages, as older
// agents need.
func (s *Session) KeepAlive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.multiplexed && !ssmwire.Newer(s.agentVersion, ssmwire.AgentNoKeepAlive)
}

// CustomerMessage is what the session's document has to say to the person; not
// cleaned.
func (s *Session) CustomerMessage() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.customer
}

// Refusals is how often the agent of a multiplexed session has said that it could
// not reach the target.
func (s *Session) Refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusals
}

// isBlocked is what Options.Connect is given.
func (s *Session) isBlocked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blocked
}

// Err says why the session has ended: nil while it lives and after a proper end.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// endLocked ends the session, once.
func (s *Session) endLocked(err error) {
	if s.state == stateEnded {
		return
	}
	if s.refusal != nil {
		err = s.refusal
	}
	s.state, s.err = stateEnded, err
	s.changed.Broadcast()
	s.wakeWriter()
}

// wakeWriter makes the writer look again.
func (s *Session) wakeWriter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Read returns what the target has sent: io.EOF after it has closed, and an error
// when the session ended otherwise, or when it closed just after a WebSocket was lost,
// perhaps with its last bytes. All that came before comes first.
func (s *Session) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closing:
			return 0, s.failed("read", net.ErrClosed)
		case s.readLimit.expired(s.now()):
			return 0, s.failed("read", os.ErrDeadlineExceeded)
		case s.in.data.n > 0 || len(p) == 0:
			full := s.in.data.n > receiveLimit
			n := s.in.data.take(p)
			if full {
				s.changed.Broadcast()
			}
			return n, nil
		case s.state == stateEnded && s.err != nil:
			return 0, s.failed("read", s.err)
		case s.state == stateEnded:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

// Write queues p, waiting while as much is on its way as may be. That it returns
// does not mean that the target has it: Close tells whether it does.
func (s *Session) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 0; ; {
		switch {
		case s.closing:
			return n, s.failed("write", net.ErrClosed)
		case s.writeLimit.expired(s.now()):
			return n, s.failed("write", os.ErrDeadlineExceeded)
		case s.state == stateEnded && s.err != nil:
			return n, s.failed("write", s.err)
		case s.state == stateEnded:
			return n, s.failed("write", &ClosedError{"the target has closed the connection"})
		case n == len(p):
			return n, nil
		}
		if k := min(len(p)-n, queueLimit-s.out.queue.n); k > 0 {
			s.out.queue.put(p[n : n+k])
			n += k
			s.wakeWriter()
			continue
		}
		s.changed.Wait()
	}
}

func (s *Session) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "ssm", Err: err}
}
