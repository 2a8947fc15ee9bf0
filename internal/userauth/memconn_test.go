package userauth

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/adit-ssh/adit/internal/wire"
)

// memConn is one end of a PacketConn in memory. Writing never waits.
type memConn struct {
	in, out   *lane
	sessionID []byte
	hostKey   []byte
	last      []byte // what ReadPacket returned; overwritten by the next call

	mu      sync.Mutex
	ext     map[string]string
	corked  bool
	held    [][]byte
	flights [][]string // names of the messages that left together
	err     error      // of Abort
}

// lane is one direction.
type lane struct {
	mu     sync.Mutex
	more   chan struct{} // of capacity 1
	queue  [][]byte
	closed bool
	reason error
}

func newLane() *lane { return &lane{more: make(chan struct{}, 1)} }

func (l *lane) put(ps ...[]byte) {
	l.mu.Lock()
	l.queue = append(l.queue, ps...)
	l.mu.Unlock()
	l.wake()
}

func (l *lane) close(reason error) {
	l.mu.Lock()
	if !l.closed {
		l.closed, l.reason = true, reason
	}
	l.mu.Unlock()
	l.wake()
}

func (l *lane) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// take waits for the next message. What was sent before the end still comes.
func (l *lane) take() ([]byte, error) {
	for {
		l.mu.Lock()
		if len(l.queue) > 0 {
			p := l.queue[0]
			l.queue = l.queue[1:]
			l.mu.Unlock()
			return p, nil
		}
		closed, reason := l.closed, l.reason
		l.mu.Unlock()
		if closed {
			l.wake()
			return nil, reason
		}
		<-l.more
	}
}

var (
	testSessionID = bytes.Repeat([]byte{7}, 32)
	testHostKey   = []byte("the server's host key")
)

// memPipe returns both ends of a connection.
func memPipe() (client, server *memConn) {
	up, down := newLane(), newLane()
	mk := func(in, out *lane) *memConn {
		return &memConn{in: in, out: out, sessionID: testSessionID, hostKey: testHostKey, ext: map[string]string{}}
	}
	return mk(down, up), mk(up, down)
}

func (c *memConn) ReadPacket() ([]byte, error) {
	for i := range c.last {
		c.last[i] = 0xdd // whoever kept it finds out
	}
	p, err := c.in.take()
	c.last = p
	return p, err
}

func (c *memConn) WritePacket(p []byte, _ <-chan struct{}) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.held = append(c.held, bytes.Clone(p))
	if !c.corked {
		c.flushLocked()
	}
	return nil
}

func (c *memConn) flushLocked() {
	var names []string
	for _, p := range c.held {
		names = append(names, wire.Name(wire.PhaseAny, p[0]))
	}
	if len(names) > 0 {
		c.flights = append(c.flights, names)
	}
	c.out.put(c.held...)
	c.held = nil
}

func (c *memConn) Unimplemented() error {
	return c.WritePacket((&wire.Unimplemented{}).Append(nil), nil)
}

func (c *memConn) Cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
}

func (c *memConn) Uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	c.flushLocked()
	return c.err
}

func (c *memConn) SessionID() []byte { return c.sessionID }
func (c *memConn) HostKey() []byte   { return c.hostKey }

func (c *memConn) PeerExtension(name string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.ext[name]
	return []byte(v), ok
}

// extensions makes the peer's EXT_INFO known.
func (c *memConn) extensions(kv ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 0; i < len(kv); i += 2 {
		c.ext[kv[i]] = kv[i+1]
	}
}

// abortError is what Abort returns.
type abortError struct {
	reason uint32
	text   string
}

func (e *abortError) Error() string { return fmt.Sprintf("disconnected: %s (%d)", e.text, e.reason) }

func (c *memConn) Abort(reason uint32, text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = &abortError{reason, text}
		c.out.put((&wire.Disconnect{Reason: reason, Description: text}).Append(nil))
		c.out.close(io.EOF)
		c.in.close(c.err)
	}
	return c.err
}
