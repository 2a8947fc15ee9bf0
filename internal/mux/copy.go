package mux

import (
	"errors"
	"io"

	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
)

// source reads a socket straight into a batch.
type source interface {
	// read waits until there is data and reads it into the data areas of a
	// batch that get returns, at most max bytes. No batch is taken while there
	// is nothing to read. At the end of data it returns io.EOF.
	read(get func() *packet.Batch, max int, slots int) (b *packet.Batch, n int, err error)
}

// sink writes a socket without waiting.
type sink interface {
	// tryWrite writes what the socket takes now.
	tryWrite(bufs [][]byte) (n int64, err error)
}

// ReadFrom implements io.ReaderFrom: it sends what r has until its EOF, which is
// not an error and sends nothing. From a TCP or unix socket it reads into
// packets directly.
func (c *Channel) ReadFrom(r io.Reader) (total int64, err error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	src := newSource(r)
	get := func() *packet.Batch { return c.m.pc.NewBatch(c.maxOut) }
	for slots := 1; ; {
		// The window is only looked at here: while the socket is silent the
		// channel is not "sending", so that a CLOSE can pass.
		room, err := c.waitRoom(nil)
		if err != nil {
			return total, err
		}
		most := slots
		if c.m.pc.Contended() {
			most = min(slots, sharedSlots)
		}
		b, n, err := src.read(get, room, most)
		if n > 0 {
			full, one := n == min(most, b.Slots())*b.DataCap(), n <= b.DataCap()
			sent, serr := c.sendRead(b, n)
			total += int64(sent)
			if serr != nil {
				return total, serr
			}
			switch {
			case full:
				slots = min(2*slots, packet.MaxSlots)
			case one:
				slots = 1
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// sharedSlots is how many packets are read at once while others wait to send.
const sharedSlots = 4

// sendRead sends n bytes that were read into b, and releases it. Only the holder
// of writeMu takes from the window, so it is still there.
func (c *Channel) sendRead(b *packet.Batch, n int) (sent int, err error) {
	if err := c.reserve(n); err != nil {
		b.Release()
		return 0, err
	}
	if n <= smallWrite && n <= b.DataCap() {
		buf := smallBufs.Get().(*[]byte)
		m := append((*buf)[:0], wire.NumChannelData)
		m = wire.AppendString(wire.AppendUint32(m, c.peerID), b.Data(0)[:n])
		*buf = m
		b.Release()
		err = c.m.pc.WritePacket(m, nil)
		smallBufs.Put(buf)
	} else {
		b.Fill(c.peerID, n)
		err = c.m.pc.WriteBatch(b, nil)
	}
	if err == nil {
		sent = n
	}
	c.release(n-sent, sent)
	return sent, err
}

// WriteTo implements io.WriterTo: it writes what the peer sends to w until EOF,
// which is not an error. To a TCP or unix socket the connection's reader writes
// directly, as long as the socket takes it without waiting.
func (c *Channel) WriteTo(w io.Writer) (total int64, err error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	s := newSink(w)
	c.mu.Lock()
	c.sink = s
	start := c.sunk
	c.mu.Unlock()
	var queued int64 // what this goroutine wrote itself
	finish := func(err error) (int64, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.direct, c.sink = false, nil
		if err != nil && err != io.EOF {
			c.stopReadingLocked()
		} else {
			err = nil
		}
		return queued + c.sunk - start, err
	}
	for {
		if isClosed(c.readEnd.wait()) {
			return finish(c.timeout())
		}
		c.mu.Lock()
		chunk, ok := c.queue.pop()
		err := c.sinkErr
		if !ok && err == nil {
			if err = c.readErrLocked(); err == nil && c.closed {
				err = c.closedErrLocked()
			}
			c.direct = err == nil && s != nil
		}
		c.mu.Unlock()
		if ok {
			n, werr := w.Write(chunk.data())
			queued += int64(n)
			c.mu.Lock()
			c.takenLocked(len(chunk.data()))
			c.mu.Unlock()
			chunk.release()
			if werr != nil {
				return finish(werr)
			}
			continue
		}
		if err != nil {
			return finish(err)
		}
		select {
		case <-c.rd:
		case <-c.ended:
		case <-c.readEnd.wait():
		}
	}
}

// writeSinkLocked writes collected data to the sink; what it does not take is
// queued and WriteTo woken. It runs on the reader goroutine.
func (c *Channel) writeSinkLocked(bufs [][]byte) {
	if c.direct {
		n, err := c.sink.tryWrite(bufs)
		c.sunk += n
		c.takenLocked(int(n))
		bufs = skipBytes(bufs, int(n))
		if err != nil {
			c.sinkErr = err
			c.direct = false
			wake(c.rd)
		} else if len(bufs) > 0 {
			c.direct = false
		}
	}
	if len(bufs) == 0 {
		return
	}
	for _, b := range bufs {
		if c.discard || c.sinkErr != nil {
			c.takenLocked(len(b))
		} else {
			c.queue.push(b)
		}
	}
	wake(c.rd)
}

// skipBytes takes n bytes off the front.
func skipBytes(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

// readerSource reads any io.Reader, one packet at a time.
type readerSource struct{ r io.Reader }

func (s readerSource) read(get func() *packet.Batch, max, _ int) (*packet.Batch, int, error) {
	b := get()
	n, err := s.r.Read(b.Data(0)[:min(max, b.DataCap())])
	if n == 0 {
		b.Release()
		return nil, 0, err
	}
	return b, n, err
}
