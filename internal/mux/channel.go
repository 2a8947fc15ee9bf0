package mux

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/procs"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// errPeerClosed is what a write gets after the peer's CLOSE.
var errPeerClosed = fmt.Errorf("the peer closed the channel: %w", io.ErrClosedPipe)

// smallWrite is up to how many bytes a write goes through the small lane.
const smallWrite = 4 << 10

// Channel is one channel: a net.Conn with CloseWrite, and channel requests.
//
//	opening ──confirmation──► open ──our CLOSE and the peer's, in any order──► gone
//	   └──────failure───────────────────────────────────────────────────────────►
//
// EOF in one direction leaves the other open. A channel's number is used again
// only after both sides sent CLOSE.
type Channel struct {
	// Immutable once it is open.
	m       *Mux
	typ     string
	id      uint32 // ours
	peerID  uint32
	maxOut  int // most data for one packet
	byPeer  bool
	flow    procs.Flow
	about   trace.Subject // for the tracer; nil without one
	opened  chan error    // the answer to our open; capacity 1
	ended   chan struct{} // closed when nothing more can come or go
	rd, wr  chan struct{} // wake the one reader, the one writer; capacity 1
	errRd   chan struct{} // wakes the one reader of stderr; nil without stderr
	reqs    chan *Request // nil: requests are refused
	hasErr  bool          // extended data goes to stderr instead of being dropped
	local   net.Addr
	remote  net.Addr
	readEnd deadline
	sendEnd deadline

	readMu  sync.Mutex  // one reader at a time
	writeMu sync.Mutex  // one writer at a time
	hold    *time.Timer // of waitRoom; guarded by writeMu
	reqMu   sync.Mutex  // orders replies with requests

	mu sync.Mutex
	// Guarded by mu.
	state     state
	queue     queue
	stderr    queue
	sink      sink
	direct    bool // data goes to sink, and queue is empty
	sinkErr   error
	discard   bool   // nobody reads any more
	window    uint32 // what we announce at most
	inLeft    uint32 // what the peer may still send
	consumed  int64  // taken by the application, not announced yet; negative while the window narrows
	untuned   int    // taken by the application, not told to tuner yet
	talks     bool   // small data came while there was no bulk: it counts in Mux.talks
	borrowed  uint32 // from the budgets, for a window wider than at first
	outLeft   uint32 // what we may still send
	pace      pacer
	sending   int // writers between window and wire: CLOSE waits for them
	sentEOF   bool
	gotEOF    bool
	wantClose bool // CLOSE goes out when sending is 0
	sentClose bool
	gotClose  bool
	closed    bool // Close was called
	err       error
	tuner     tuner
	adjust    [9]byte // room for CHANNEL_WINDOW_ADJUST
	replies   []chan bool
	idle      *idleWatch // nil: it may be idle
	expiry    error      // why it was closed for being idle
	sunk      int64      // bytes the reader wrote to sinks
	bytesIn   uint64
	bytesOut  uint64
	abandoned bool // Open's ctx ended before the answer
}

type state uint8

const (
	stateOpening state = iota
	stateOpen
	stateGone
)

func (m *Mux) newChannel(typ string, o Options) *Channel {
	c := &Channel{m: m, typ: typ, window: m.cfg.Window, inLeft: m.cfg.Window,
		ended: make(chan struct{}), rd: make(chan struct{}, 1), wr: make(chan struct{}, 1), hasErr: o.Stderr, flow: procs.NewFlow()}
	if o.Requests {
		c.reqs = make(chan *Request, requestQueue)
	}
	return c
}

// wake tells the one who waits on ch.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Type returns the channel type.
func (c *Channel) Type() string { return c.typ }

// ID returns our number of the channel.
func (c *Channel) ID() uint32 { return c.id }

// SetAddrs sets what LocalAddr and RemoteAddr return. It is called before the
// channel is handed out.
func (c *Channel) SetAddrs(local, remote net.Addr) { c.local, c.remote = local, remote }

// LocalAddr implements net.Conn.
func (c *Channel) LocalAddr() net.Addr { return addrOr(c.local) }

// RemoteAddr implements net.Conn.
func (c *Channel) RemoteAddr() net.Addr { return addrOr(c.remote) }

type noAddr struct{}

func (noAddr) Network() string { return "ssh" }
func (noAddr) String() string  { return "ssh channel" }

func addrOr(a net.Addr) net.Addr {
	if a == nil {
		return noAddr{}
	}
	return a
}

// SetDeadline implements net.Conn.
func (c *Channel) SetDeadline(t time.Time) error {
	c.readEnd.set(t)
	c.sendEnd.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Channel) SetReadDeadline(t time.Time) error { c.readEnd.set(t); return nil }

// SetWriteDeadline implements net.Conn. A write that timed out may have sent
// part of its data; the count tells.
func (c *Channel) SetWriteDeadline(t time.Time) error { c.sendEnd.set(t); return nil }

// Read implements net.Conn. After the peer's EOF, and after CLOSE, it returns
// what is queued and then io.EOF.
func (c *Channel) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	return c.readQueue(&c.queue, c.rd, p)
}

// readQueue reads from q, which rd tells about.
func (c *Channel) readQueue(q *queue, rd <-chan struct{}, p []byte) (int, error) {
	for {
		if isClosed(c.readEnd.wait()) {
			return 0, c.timeout()
		}
		c.mu.Lock()
		if c.closed {
			err := c.closedErrLocked()
			c.mu.Unlock()
			return 0, err
		}
		if n := q.read(p); n > 0 || len(p) == 0 {
			c.takenLocked(n)
			c.mu.Unlock()
			return n, nil
		}
		err := c.readErrLocked()
		c.mu.Unlock()
		if err != nil {
			return 0, err
		}
		select {
		case <-rd:
		case <-c.ended:
		case <-c.readEnd.wait():
		}
	}
}

// timeout tells a deadline that passed from one that Close let pass.
func (c *Channel) timeout() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.closedErrLocked()
	}
	return os.ErrDeadlineExceeded
}

// readErrLocked is what a read without data gets; nil to wait.
func (c *Channel) readErrLocked() error {
	switch {
	case c.gotEOF || c.gotClose:
		return io.EOF
	case c.err != nil:
		return c.err
	}
	return nil
}

var smallBufs = sync.Pool{New: func() any { b := make([]byte, 0, smallWrite+64); return &b }}

// Close sends CLOSE, after data that is being sent, and drops what was not
// read. It does not wait for the peer.
func (c *Channel) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	c.closed = true
	c.stopReadingLocked()
	c.wantClose = c.state == stateOpen
	c.closeIfDueLocked()
	c.mu.Unlock()
	c.readEnd.end()
	c.sendEnd.end()
	wake(c.wr)
	return nil
}

// closeIfDueLocked sends CLOSE when it is wanted and nothing is on its way
// before it, and ends the channel when the peer's has come.
func (c *Channel) closeIfDueLocked() {
	if c.wantClose && !c.sentClose && c.sending == 0 {
		c.sentClose = true
		// The lane's order keeps CLOSE behind all data that was accepted.
		if err := c.m.pc.QueuePacket((&wire.ChannelClose{RecipientChannel: c.peerID}).Append(nil)); err != nil && c.err == nil {
			c.err = err
		}
	}
	if c.sentClose && c.gotClose && c.state == stateOpen {
		c.endLocked()
	}
}

// endLocked takes the channel out of the table.
func (c *Channel) endLocked() {
	c.state = stateGone
	if c.idle != nil {
		c.idle.timer.Stop()
	}
	if c.reqs != nil {
		close(c.reqs)
	}
	for _, r := range c.replies {
		close(r)
	}
	c.replies = nil
	c.m.giveBack(int64(c.borrowed))
	if c.talks {
		c.m.talks.Add(-1)
		c.talks = false
	}
	c.borrowed = 0
	if trace.Wants(c.m.cfg.Tracer, trace.LevelChannel) {
		e := trace.ChannelClosed{Local: c.id, Type: c.typ, BytesIn: c.bytesIn, BytesOut: c.bytesOut}
		if c.err != nil {
			e.Err = c.err.Error()
		}
		trace.Emit(c.m.cfg.Tracer, e)
	}
	c.m.remove(c)
	close(c.ended) // who hears it finds the channel gone
}

// connectionEnded tells the channel that nothing moves any more.
func (c *Channel) connectionEnded(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateGone {
		return
	}
	if c.err == nil {
		c.err = err
	}
	if c.state == stateOpening {
		c.opened <- err
	}
	c.direct = false
	c.endLocked()
}

// stopReadingLocked drops what is queued and what will come, and returns its
// window to the peer.
func (c *Channel) stopReadingLocked() {
	c.discard = true
	c.direct = false
	c.takenLocked(c.queue.clear() + c.stderr.clear())
}

// CloseRead drops what is queued and what will come. The peer is not told; its
// window goes on being returned.
func (c *Channel) CloseRead() error {
	c.mu.Lock()
	c.stopReadingLocked()
	c.mu.Unlock()
	return nil
}

// Closed is closed when both sides have sent CLOSE or the connection has ended.
func (c *Channel) Closed() <-chan struct{} { return c.ended }

// Context returns the connection's lifetime.
func (c *Channel) Context() context.Context { return c.m.lifetime }
