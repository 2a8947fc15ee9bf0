package transport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/internal/zstream"
)

// inHalf is the receiving direction: a buffer, the cipher that opens what lies
// in it, and counters. It is owned by whoever reads: the handshake, then the
// reader goroutine.
type inHalf struct {
	buf  []byte
	r, w int // buf[r:w] is unread
	need int // whole length of the packet at r, 0 while unknown

	cipher  algo.PacketCipher
	seq     uint32
	packets uint64 // since the last NEWKEYS
	bytes   uint64 // since the last NEWKEYS

	zlib     compression
	inflate  *zstream.Inflater // nil while nothing is compressed
	inflater *zstream.Inflater // inflate, now or before
	tally    tally

	read    func([]byte) (int, error) // of the connection; immutable
	arrival *arrival                  // nil where nothing can be tuned

	began time.Time    // immutable
	last  atomic.Int64 // when bytes last came, ns since began
}

func (h *inHalf) init(read func([]byte) (int, error), tcp *tcpTuner, hurry *hurry) {
	h.read = read
	h.buf = make([]byte, minReadBuffer)
	h.began = time.Now()
	h.cipher = algo.Plain()
	if tcp != nil {
		h.arrival = newArrival(*tcp, hurry)
	}
}

// peek finds out, without reading, whether a whole packet lies in the buffer.
func (h *inHalf) peek() (bool, error) {
	if h.need == 0 {
		if h.w-h.r < h.cipher.Prefix() {
			return false, nil
		}
		n, err := h.cipher.Length(h.seq, h.buf[h.r:h.w])
		if err != nil {
			return false, &ProtocolError{wire.DisconnectProtocolError, fmt.Errorf("packet %d: %w", h.seq, err)}
		}
		h.need = n
	}
	return h.w-h.r >= h.need, nil
}

// next returns the payload of the next packet. keep forbids moving or
// overwriting what was returned before.
func (h *inHalf) next(keep bool) ([]byte, error) {
	for {
		ok, err := h.peek()
		if err != nil {
			return nil, err
		}
		if ok {
			return h.open()
		}
		if err := h.fill(keep); err != nil {
			return nil, err
		}
		keep = false // a fill that had to keep took a new buffer
	}
}

func (h *inHalf) open() ([]byte, error) {
	n := h.need
	payload, err := h.cipher.Open(h.seq, h.buf[h.r:h.r+n:h.r+n])
	if err != nil {
		reason := uint32(wire.DisconnectProtocolError)
		if errors.Is(err, algo.ErrTag) {
			reason = wire.DisconnectMACError
		}
		return nil, &ProtocolError{reason, fmt.Errorf("packet %d: %w", h.seq, err)}
	}
	h.r += n
	h.need = 0
	h.seq++
	h.packets++
	h.bytes += uint64(n)
	if h.inflate != nil {
		return h.expand(h.seq-1, payload)
	}
	return payload, nil
}

// fill reads once. It makes room first: by starting over at the front, by
// moving a partial packet there, or by taking a larger buffer, and with keep
// always by taking another buffer, since slices of this one are in use.
func (h *inHalf) fill(keep bool) error {
	have := h.buf[h.r:h.w]
	switch {
	case keep || len(h.buf) < h.need || len(have) == len(h.buf):
		size := max(len(h.buf), minReadBuffer, h.need)
		if len(have) == len(h.buf) {
			size = max(size, 2*len(h.buf))
		}
		buf := make([]byte, size)
		copy(buf, have)
		h.buf = buf
	case h.r > 0:
		copy(h.buf, have)
	}
	h.r, h.w = 0, len(have)
	room := len(h.buf) - h.w
	if h.arrival != nil {
		h.arrival.before()
	}
	n, err := h.read(h.buf[h.w:])
	h.w += n
	if n > 0 {
		h.last.Store(int64(time.Since(h.began)))
		// A read that filled a small buffer says that there is more: a larger
		// one saves system calls. The partial packet moves along next time.
		if n == room && len(h.buf) < maxReadBuffer {
			buf := make([]byte, min(4*len(h.buf), maxReadBuffer))
			copy(buf, h.buf[:h.w])
			h.buf = buf
		}
		if h.arrival != nil {
			h.arrival.read(n)
		}
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) {
		return errPeerClosed
	}
	return err
}

// install switches to a new cipher at the peer's NEWKEYS.
func (h *inHalf) install(cipher algo.PacketCipher, resetSeq bool) {
	h.cipher = cipher
	h.packets, h.bytes = 0, 0
	if resetSeq {
		h.seq = 0
	}
}
