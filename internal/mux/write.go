package mux

import (
	"errors"
	"math"

	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
)

// Write implements net.Conn.
func (c *Channel) Write(p []byte) (n int, err error) { return c.write(p, 0) }

// write sends p as data, or with kind as extended data of that kind.
func (c *Channel) write(p []byte, kind uint32) (n int, err error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	for {
		if isClosed(c.sendEnd.wait()) {
			return n, c.timeout()
		}
		if n == len(p) { // an empty write finds out whether others would succeed
			c.mu.Lock()
			defer c.mu.Unlock()
			return n, c.writeErrLocked()
		}
		room, err := c.waitRoom(c.sendEnd.wait())
		if err != nil {
			return n, err
		}
		k := min(room, len(p)-n)
		if err := c.reserve(k); err != nil {
			return n, err
		}
		sent, err := c.send(p[n:n+k], kind)
		c.release(k-sent, sent)
		n += sent
		if err == packet.ErrCancelled {
			err = c.timeout()
		}
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// send sends p, for which the window is reserved, and returns how much of it
// was accepted.
func (c *Channel) send(p []byte, kind uint32) (n int, err error) {
	cancel := c.sendEnd.wait()
	if kind == 0 && len(p) > smallWrite && c.maxOut > smallWrite {
		for n < len(p) {
			b := c.m.pc.NewBatch(c.maxOut)
			k := 0
			for i := 0; i < b.Slots() && n+k < len(p); i++ {
				k += copy(b.Data(i), p[n+k:])
			}
			b.Fill(c.peerID, k)
			if err := c.m.pc.WriteBatch(b, cancel); err != nil {
				return n, err
			}
			n += k
		}
		return n, nil
	}
	buf := smallBufs.Get().(*[]byte)
	defer smallBufs.Put(buf)
	for n < len(p) {
		k := min(len(p)-n, c.maxOut, smallWrite)
		m := (*buf)[:0]
		if kind == 0 {
			m = append(m, wire.NumChannelData)
			m = wire.AppendUint32(m, c.peerID)
		} else {
			m = append(m, wire.NumChannelExtendedData)
			m = wire.AppendUint32(wire.AppendUint32(m, c.peerID), kind)
		}
		m = wire.AppendString(m, p[n:n+k])
		*buf = m
		if err := c.m.pc.WritePacket(m, cancel); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// reserve takes n bytes of the window, which waitRoom found there, and counts
// the caller as sending. release ends that. The caller holds writeMu, so that
// nobody else takes from the window.
func (c *Channel) reserve(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.writeErrLocked(); err != nil {
		return err
	}
	c.outLeft -= uint32(n)
	c.sending++
	c.flow.Moved()
	return nil
}

func (c *Channel) writeErrLocked() error {
	switch {
	case c.closed:
		return c.closedErrLocked()
	case c.gotClose:
		return errPeerClosed
	case c.err != nil:
		return c.err
	case c.sentEOF:
		return errors.New("write after CloseWrite")
	}
	return nil
}

// release ends a reservation: unused bytes go back to the window, which the peer
// may have widened to its limit meanwhile.
func (c *Channel) release(unused, sent int) {
	c.mu.Lock()
	c.sending--
	c.outLeft = uint32(min(uint64(c.outLeft)+uint64(unused), math.MaxUint32))
	c.bytesOut += uint64(sent)
	c.closeIfDueLocked()
	c.mu.Unlock()
}

// CloseWrite sends EOF: no more data comes from us, data of the peer still
// arrives. A Write that runs at the time ends first.
func (c *Channel) CloseWrite() error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.mu.Lock()
	err := c.writeErrLocked()
	if c.sentEOF {
		err = nil
	}
	if err != nil || c.sentEOF {
		c.mu.Unlock()
		return err
	}
	c.sentEOF = true
	c.sending++ // CLOSE, as an answer to the peer's, must not overtake
	c.mu.Unlock()
	err = c.m.pc.WritePacket((&wire.ChannelEOF{RecipientChannel: c.peerID}).Append(nil), nil)
	c.release(0, 0)
	return err
}
