// Package proxied carries the connection protocol (RFC 4254) unencrypted between a
// program and the master of a shared connection: what is spoken on a control socket
// after MUX_C_PROXY (OpenSSH, PROTOCOL.mux, section 9). Conn is the PacketConn of
// internal/mux for it, for both sides.
//
//	uint32  packet length
//	byte    0 (padding length)
//	byte[]  a message of the connection protocol
//
// It is not the control protocol, which is internal/control's, and knows nothing of
// channels. Other messages than the connection protocol's are neither sent nor
// heeded, as in OpenSSH (packet.c, ssh_packet_send_mux).
package proxied

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
)

const (
	// MaxPacket is the longest packet taken, in bytes: OpenSSH's own limit
	// (packet.h, PACKET_MAX_SIZE).
	MaxPacket = 256 << 10
	// queued is from how many bytes on writers wait, and overflow from how many on
	// what can't wait is an error: the peer asks without reading the answers.
	queued   = 512 << 10
	overflow = 4 << 20
	// grace is how long Close waits for the peer to take what is queued.
	grace = time.Second
	// head is a packet's length and its padding length, in bytes.
	head = 5
)

// ErrOverflow ends a connection whose peer asks without reading the answers.
var ErrOverflow = errors.New("the peer does not read what it asks for")

// Conn is a stream as a mux.PacketConn.
//
// Goroutines: one that writes, which Close and Abort end and wait for.
type Conn struct {
	// Immutable.
	nc    net.Conn
	br    *bufio.Reader // owned by who calls ReadPacket
	work  chan struct{} // wakes the writer; capacity 1
	ended chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	out     []byte        // guarded by mu: framed packets
	room    chan struct{} // guarded by mu: closed when the writer has taken out
	err     error         // guarded by mu: why nothing is sent any more
	closing bool          // guarded by mu
}

// New returns a Conn on nc, which it owns.
func New(nc net.Conn) *Conn {
	c := &Conn{nc: nc, br: bufio.NewReaderSize(nc, 2*MaxPacket), work: make(chan struct{}, 1), ended: make(chan struct{}), room: make(chan struct{})}
	go c.write() // ends with Close or Abort
	return c
}

// write is the writer.
func (c *Conn) write() {
	defer close(c.ended)
	var spare []byte
	for range c.work {
		c.mu.Lock()
		b := c.out
		c.out = spare[:0]
		close(c.room)
		c.room = make(chan struct{})
		over := c.closing || c.err != nil
		c.mu.Unlock()
		if len(b) > 0 {
			if _, err := c.nc.Write(b); err != nil {
				c.fail(err)
				over = true
			}
		}
		if over {
			return
		}
		if spare = b; cap(spare) > 2*queued {
			spare = nil
		}
	}
}

// fail ends sending, and the peer's reading and our own with it.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.nc.Close()
	c.wake()
}

func (c *Conn) wake() {
	select {
	case c.work <- struct{}{}:
	default:
	}
}

// ReadPacket implements mux.PacketConn.
func (c *Conn) ReadPacket() ([]byte, error) {
	for {
		h, err := c.br.Peek(head)
		if err != nil {
			if err == io.EOF && len(h) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		n, err := length(h)
		if err != nil {
			return nil, err
		}
		if _, err := c.br.Peek(4 + n); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if p := c.take(n); p != nil {
			return p, nil
		}
	}
}

// ReadBuffered implements mux.PacketConn.
func (c *Conn) ReadBuffered() ([]byte, error) {
	for c.br.Buffered() >= head {
		h, _ := c.br.Peek(head)
		n, err := length(h)
		if err != nil {
			return nil, err
		}
		if c.br.Buffered() < 4+n {
			return nil, nil
		}
		if p := c.take(n); p != nil {
			return p, nil
		}
	}
	return nil, nil
}

// take returns the packet of length n that is in the buffer; nil if it is none of
// the connection protocol.
func (c *Conn) take(n int) []byte {
	b, _ := c.br.Peek(4 + n)
	c.br.Discard(4 + n)
	p := b[head:]
	switch {
	case p[0] == wire.NumRequestFailure: // what may follow is to make it longer
		return p[:1]
	case p[0] >= wire.NumGlobalRequest && p[0] <= wire.NumChannelFailure:
		return p
	}
	return nil
}

// length returns what a head says: the padding length, which is 0, and at least a
// message's number are counted.
func length(h []byte) (int, error) {
	n := binary.BigEndian.Uint32(h)
	switch {
	case n < 2 || n > MaxPacket:
		return 0, fmt.Errorf("a packet of %d bytes: from 2 to %d are taken", n, MaxPacket)
	case h[4] != 0:
		return 0, fmt.Errorf("a packet with %d bytes of padding: there is to be none", h[4])
	}
	return int(n), nil
}

// WritePacket implements mux.PacketConn.
func (c *Conn) WritePacket(p []byte, cancel <-chan struct{}) error {
	if err := c.waitRoom(cancel); err != nil {
		return err
	}
	defer c.mu.Unlock()
	c.appendLocked(p)
	return nil
}

// waitRoom waits until there is room, and returns with mu held unless it returns an
// error.
func (c *Conn) waitRoom(cancel <-chan struct{}) error {
	for {
		c.mu.Lock()
		if c.err != nil {
			defer c.mu.Unlock()
			return c.err
		}
		if len(c.out) < queued {
			return nil
		}
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-c.ended:
			c.fail(net.ErrClosed)
		case <-cancel:
			return packet.ErrCancelled
		}
	}
}

// appendLocked frames a message. OpenSSH's client takes no packet that is shorter
// than five bytes (packet.c, ssh_packet_read_poll2_mux), as answers to global
// requests may be: these have zeros behind them, which mean nothing there.
func (c *Conn) appendLocked(p []byte) {
	n := max(1+len(p), head)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(n))
	c.out = append(append(c.out, 0), p...)
	c.out = append(c.out, make([]byte, n-1-len(p))...)
	c.wake()
}

// QueuePacket implements mux.PacketConn.
func (c *Conn) QueuePacket(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case len(c.out) > overflow:
		return ErrOverflow
	}
	c.appendLocked(p)
	return nil
}

// NewBatch implements mux.PacketConn.
func (c *Conn) NewBatch(maxData int) *packet.Batch {
	return packet.New(maxData, packet.Head+wire.ChannelDataHeader+maxData)
}

// WriteBatch implements mux.PacketConn.
func (c *Conn) WriteBatch(b *packet.Batch, cancel <-chan struct{}) error {
	defer b.Release()
	if err := c.waitRoom(cancel); err != nil {
		return err
	}
	defer c.mu.Unlock()
	for i := range b.Len() {
		slot, n := b.Packet(i)
		c.appendLocked(slot[packet.Head : packet.Head+n])
	}
	return nil
}

// Contended implements mux.PacketConn.
func (c *Conn) Contended() bool { return false }

// MeasureRTT implements mux.PacketConn: the master's is another.
func (c *Conn) MeasureRTT() {}

// RTT implements mux.PacketConn: none is known.
func (c *Conn) RTT() time.Duration { return 0 }

// Hurry implements mux.PacketConn: there is no network between the two.
func (c *Conn) Hurry() {}

// Unimplemented implements mux.PacketConn. There is no such answer here.
func (c *Conn) Unimplemented() error { return nil }

// Abort implements mux.PacketConn. The peer is not told: a DISCONNECT might be
// passed on to the server.
func (c *Conn) Abort(_ uint32, text string) error {
	err := errors.New(text)
	c.fail(err)
	<-c.ended
	return err
}

// Close implements mux.PacketConn: what is queued is sent, as far as the peer takes
// it within a second.
func (c *Conn) Close() error {
	c.mu.Lock()
	first := !c.closing
	c.closing = true
	if c.err == nil {
		c.err = net.ErrClosed
	}
	c.mu.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(grace))
	c.wake()
	<-c.ended
	err := c.nc.Close()
	if !first || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
