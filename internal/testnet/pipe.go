package testnet

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// DefaultBuffer is what one direction of a Pipe holds if Options do not say, in
// bytes.
const DefaultBuffer = 256 << 10

// errClosed is what the end that closed gets from its own connection.
var errClosed = net.ErrClosed

// Options describe a Pipe, both directions alike. The zero value is a
// connection without delay.
type Options struct {
	// Buffer is the most bytes that were written and not yet read, in each
	// direction; a write waits while they are reached. Bytes on their way
	// count, so a fast long line needs more. 0 means DefaultBuffer.
	Buffer int
	// Latency is the time a byte takes one way.
	Latency time.Duration
	// Bandwidth is in bytes a second, one way. 0 means without limit.
	Bandwidth int
	// MaxRead is the most bytes that one Read returns, to shake parsers that
	// hope for whole messages. 0 means without limit.
	MaxRead int
}

// Conn is one end of a Pipe. Besides net.Conn it has CloseWrite and the faults.
type Conn struct {
	in, out *link
	name    string
	peer    string
	closed  atomic.Bool
}

var _ net.Conn = (*Conn)(nil)

// Pipe returns both ends of a connection in memory.
//
// A Write returns when its bytes are queued, so that two ends may write at
// once. After CloseWrite the peer reads EOF and this end still reads; after
// Close the peer reads what was queued, then EOF, and its writes fail with
// EPIPE.
func Pipe(o Options) (a, b *Conn) {
	ab, ba := newLink(o), newLink(o)
	a = &Conn{in: ba, out: ab, name: "a", peer: "b"}
	b = &Conn{in: ab, out: ba, name: "b", peer: "a"}
	cut := func() { a.Reset() }
	ab.onCut, ba.onCut = cut, cut
	return a, b
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err == io.EOF {
		return n, io.EOF
	}
	return n, c.wrap("read", err)
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// CloseWrite ends the outgoing direction: the peer reads EOF behind what was
// written.
func (c *Conn) CloseWrite() error {
	var err error
	c.out.change(func() {
		switch {
		case c.out.writeGone:
			err = errClosed
		default:
			c.out.endLocked()
		}
	})
	return c.wrap("close", err)
}

// Close ends both directions and unblocks this end's calls. What the peer has
// not read of what we wrote stays readable.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return c.wrap("close", errClosed)
	}
	c.out.change(func() {
		c.out.endLocked()
		c.out.writeGone = true
		c.out.limitLocked(&c.out.writeLimit, &c.out.writeTimer, time.Time{})
	})
	c.in.change(func() {
		c.in.readGone = true
		c.in.segments, c.in.held = nil, 0
		c.in.limitLocked(&c.in.readLimit, &c.in.readTimer, time.Time{})
	})
	return nil
}

// Reset kills the connection as a TCP RST does: both ends' calls fail with
// ECONNRESET, and bytes on their way are lost. Both ends still want Close.
func (c *Conn) Reset() {
	for _, l := range []*link{c.in, c.out} {
		l.change(func() {
			l.reset = true
			l.segments, l.held = nil, 0
		})
	}
}

// CutAfter resets the connection once this end has sent n bytes in all.
func (c *Conn) CutAfter(n int64) {
	c.out.change(func() { c.out.cutAt = max(n, c.out.sent) })
}

// CorruptAt changes the highest bit of the n-th byte that this end sends,
// counted from 0. A byte that was already sent stays as it is.
func (c *Conn) CorruptAt(n int64) { c.out.change(func() { c.out.corruptAt = n }) }

// StallAfter keeps in flight what this end sends from the n-th byte on: the
// peer sees neither bytes nor EOF, until Resume. Writes go on until the buffer
// is full.
func (c *Conn) StallAfter(n int64) { c.out.change(func() { c.out.stallAt = n }) }

// StallNow is StallAfter for all that the peer has not read yet and that is not
// yet sent.
func (c *Conn) StallNow() {
	c.out.change(func() { c.out.stallAt = c.out.sent - int64(c.out.held) })
}

// Resume ends a stall.
func (c *Conn) Resume() { c.out.change(func() { c.out.stallAt = -1 }) }

// Sent returns the number of bytes that this end has written.
func (c *Conn) Sent() int64 {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.sent
}

// Unread returns the number of bytes that this end has written and the peer has
// not read.
func (c *Conn) Unread() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.held
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.closed.Load() {
		return c.wrap("set", errClosed)
	}
	c.in.change(func() { c.in.limitLocked(&c.in.readLimit, &c.in.readTimer, t) })
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.closed.Load() {
		return c.wrap("set", errClosed)
	}
	c.out.change(func() { c.out.limitLocked(&c.out.writeLimit, &c.out.writeTimer, t) })
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return Addr(c.name) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return Addr(c.peer) }

func (c *Conn) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: Addr("").Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Addr is the name of an end.
type Addr string

// Network implements net.Addr.
func (Addr) Network() string { return "testnet" }

// String implements net.Addr.
func (a Addr) String() string { return string(a) }
