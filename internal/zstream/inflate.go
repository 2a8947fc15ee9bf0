package zstream

import (
	"encoding/binary"
	"errors"
)

// Faults of a stream. They are final: the stream is of no use after one.
var (
	// ErrTooLong says that a packet expands to more than its limit.
	ErrTooLong = errors.New("it expands to more than a packet may hold")
	// ErrEnd says that the stream has ended, which the stream of a connection
	// never does. What came before the end was returned.
	ErrEnd = errors.New("the compressed stream has ended")
	// ErrCorrupt says that what came is no zlib stream; it is wrapped with how.
	ErrCorrupt = errors.New("corrupt compressed data")
)

// window is how far back a match may reach, in bytes (RFC 1951, section 2).
const window = 32 << 10

// maxMatch is the longest match, in bytes.
const maxMatch = 258

// minRoom is the size of a new buffer beyond the window: several large packets.
const minRoom = 96 << 10

// Inflater expands the packets of one direction. The zero value is a stream before
// its first byte. It allocates its buffer at the first packet, and another when
// the results of one reading do not fit.
//
// The steps, each of which waits in the middle for the next packet:
//
//	head -> block -+-> stored -> copied ------------+
//	          ^    +-> fixed codes ----> symbols ---+
//	          |    +-> code counts -> code lengths -> lengths -> symbols
//	          +-----------------------------------------------------+
type Inflater struct {
	// The input.
	in   []byte // what is left of the packet
	bits uint64 // bits taken from it, the next one lowest; those beyond n are 0 or a copy of the input's
	n    uint   // how many of them count

	// The output. buf[:w] is what was expanded, as far as it is kept: the window
	// at least.
	buf   []byte
	w     int
	start int  // where the packet's output begins
	lent  int  // bytes returned since Forget
	kept  bool // slices of buf were returned since Forget
	limit int

	// The state.
	step  func(*Inflater) error // what comes next
	err   error
	last  bool // the block is the last
	count int  // stored: bytes left to copy; code lengths: how many were read

	literals, distances int // how many codes of each kind
	lengthCodes         int // how many lengths of lengths' codes
	lens                [maxLiterals + maxDistances]byte
	lit                 []uint32 // the table of the block: fixed, or ownLit
	dist                []uint32
	ownLit              [litTable]uint32
	ownDist             [distTable]uint32
	totalIn, totalOut   uint64
}

// Inflate returns what p, a packet, expands to: all that the input so far
// determines, limit bytes at most. It stays valid until Forget. On an error it is
// what came before the fault.
func (z *Inflater) Inflate(p []byte, limit int) ([]byte, error) {
	if z.step == nil {
		z.step = (*Inflater).head
	}
	z.in, z.start, z.limit = p, z.w, limit
	z.totalIn += uint64(len(p))
	for z.err == nil {
		if err := z.step(z); err == errMore {
			break
		} else if err != nil {
			z.err = err
		}
	}
	z.in = nil
	if z.w-z.start > z.limit {
		z.err = z.tooLong()
	}
	out := z.buf[z.start:z.w:z.w]
	z.totalOut += uint64(len(out))
	z.lent += len(out)
	z.kept = z.kept || len(out) > 0
	return out, z.err
}

// Lent returns how many bytes of output are kept until Forget.
func (z *Inflater) Lent() int { return z.lent }

// Forget says that nobody uses what was returned so far any more.
func (z *Inflater) Forget() { z.lent, z.kept = 0, false }

// Reset makes it a stream before its first byte. The totals go on, and so does what
// was returned.
func (z *Inflater) Reset() {
	buf := z.buf
	if z.kept {
		buf = nil
	}
	*z = Inflater{buf: buf, lent: z.lent, totalIn: z.totalIn, totalOut: z.totalOut}
}

// Totals returns how many bytes came, and to how many they expanded.
func (z *Inflater) Totals() (compressed, raw uint64) { return z.totalIn, z.totalOut }

// errMore is a step's wish for the next packet. It is no fault.
var errMore = errors.New("more input is needed")

type corrupt string

func (c corrupt) Error() string { return ErrCorrupt.Error() + ": " + string(c) }

// Is makes it an ErrCorrupt.
func (c corrupt) Is(err error) bool { return err == ErrCorrupt }

// fill takes as many bytes of the input into bits as fit: 56 bits at least while
// there are so many.
func (z *Inflater) fill() {
	if len(z.in) >= 8 {
		// The upper bits, those of a byte that does not fit as a whole, are taken
		// again the next time, and are the same then.
		z.bits |= binary.LittleEndian.Uint64(z.in) << z.n
		z.in = z.in[(63-z.n)>>3:]
		z.n |= 56
		return
	}
	for z.n <= 56 && len(z.in) > 0 {
		z.bits |= uint64(z.in[0]) << z.n
		z.in = z.in[1:]
		z.n += 8
	}
}

// need has count bits in bits, 56 at most, or returns false.
func (z *Inflater) need(count uint) bool {
	if z.n < count {
		z.fill()
	}
	return z.n >= count
}

// take takes count bits, which are there.
func (z *Inflater) take(count uint) uint32 {
	v := uint32(z.bits & (1<<count - 1))
	z.drop(count)
	return v
}

func (z *Inflater) drop(count uint) {
	z.bits >>= count
	z.n -= count
}

// head reads the zlib header (RFC 1950, section 2.2).
func (z *Inflater) head() error {
	if !z.need(16) {
		return errMore
	}
	cmf, flg := z.take(8), z.take(8)
	switch {
	case cmf&15 != 8 || cmf>>4 > 7 || (cmf<<8|flg)%31 != 0:
		return corrupt("no zlib header")
	case flg&0x20 != 0:
		return corrupt("a preset dictionary")
	}
	z.step = (*Inflater).block
	return nil
}

// block reads a block's header (RFC 1951, section 3.2.3), or ends the stream
// after the last.
func (z *Inflater) block() error {
	if z.last {
		return ErrEnd
	}
	if !z.need(3) {
		return errMore
	}
	z.last = z.take(1) == 1
	switch z.take(2) {
	case 0:
		z.drop(z.n & 7) // bytes are taken whole, so what is left of one is in bits
		z.step = (*Inflater).stored
	case 1:
		z.lit, z.dist = fixedTables()
		z.step = (*Inflater).symbols
	case 2:
		z.step = (*Inflater).codeCounts
	default:
		return corrupt("a block of the reserved type")
	}
	return nil
}

// stored reads the length of a block without compression (section 3.2.4).
func (z *Inflater) stored() error {
	if !z.need(32) {
		return errMore
	}
	n, not := z.take(16), z.take(16)
	if n^not != 0xffff {
		return corrupt("a stored block's lengths differ")
	}
	z.count = int(n)
	z.step = (*Inflater).copied
	return nil
}

// copied copies a block without compression.
func (z *Inflater) copied() error {
	for z.count > 0 {
		if err := z.room(); err != nil {
			return err
		}
		room := z.buf[z.w:min(len(z.buf), z.w+z.count)]
		n := 0
		if z.n >= 8 {
			room[0] = byte(z.take(8))
			n = 1
		} else {
			// No bit counts any more: those that lie there are the input's.
			z.bits = 0
			n = copy(room, z.in)
			z.in = z.in[n:]
		}
		if n == 0 {
			return errMore
		}
		z.w += n
		z.count -= n
	}
	z.step = (*Inflater).block
	return nil
}

// symbols reads literals and matches (section 3.2.3 to 3.2.5) until the block or
// the input ends. A match is taken with all its bits, 48 at most, or not at all.
func (z *Inflater) symbols() (err error) {
	lit, dist := z.lit, z.dist
	in, b, n := z.in, z.bits, z.n
	buf, w, full := z.buf, z.w, z.full()
	for {
		if w > full {
			z.w = w
			if err = z.room(); err != nil {
				break
			}
			buf, w, full = z.buf, z.w, z.full()
		}
		if len(in) >= 8 { // as in fill
			b |= binary.LittleEndian.Uint64(in) << n
			in = in[(63-n)>>3:]
			n |= 56
		} else {
			for n <= 56 && len(in) > 0 {
				b |= uint64(in[0]) << n
				in = in[1:]
				n += 8
			}
		}
		e := lit[b&(1<<litRoot-1)]
		if e&opLink != 0 {
			e = lit[e>>valueShift+uint32(b>>litRoot)&(1<<(e&lenMask)-1)]
		}
		used := uint(e & lenMask)
		if used > n {
			err = errMore
			break
		}
		if e&opLiteral != 0 {
			buf[w] = byte(e >> valueShift)
			w++
			b >>= used
			n -= used
			continue
		}
		if e&(opEnd|opInvalid) != 0 {
			b >>= used
			n -= used
			if e&opInvalid != 0 {
				err = corrupt("no such literal or length")
			}
			z.step = (*Inflater).block
			break
		}
		extra := uint(e >> extraShift & extraMask)
		length := int(e>>valueShift) + int(b>>used&(1<<extra-1))
		used += extra
		d := b >> used
		e = dist[d&(1<<distRoot-1)]
		if e&opLink != 0 {
			e = dist[e>>valueShift+uint32(d>>distRoot)&(1<<(e&lenMask)-1)]
		}
		code := uint(e & lenMask)
		extra = uint(e >> extraShift & extraMask)
		if used+code+extra > n {
			err = errMore
			break
		}
		back := int(e>>valueShift) + int(d>>code&(1<<extra-1))
		if e&opInvalid != 0 {
			err = corrupt("no such distance")
			break
		}
		if back > w {
			err = corrupt("a match before the stream's beginning")
			break
		}
		used += code + extra
		b >>= used
		n -= used
		copyMatch(buf, w, back, length)
		w += length
	}
	z.in, z.bits, z.n, z.w = in, b, n, w
	return err
}

// copyMatch copies length bytes to w from back bytes before it. Where they
// overlap, what was just copied is copied again.
func copyMatch(buf []byte, w, back, length int) {
	to, from := buf[w:w+length], buf[w-back:w]
	if back >= length {
		copy(to, from[:length])
		return
	}
	for n := copy(to, from); n < length; {
		n += copy(to[n:], to[:n])
	}
}

// full is the greatest w at which there is room for a match, and the packet is not
// too long.
func (z *Inflater) full() int { return min(z.start+z.limit, len(z.buf)-maxMatch) }

// room has room for a match behind w, or says that the packet is too long.
func (z *Inflater) room() error {
	if z.w-z.start > z.limit {
		return z.tooLong()
	}
	if len(z.buf)-z.w >= maxMatch {
		return nil
	}
	// Kept are the window and the packet's output so far; both move to the front,
	// or into another buffer while slices of this one are in use.
	from := max(0, min(z.start, z.w-window))
	have := z.w - from
	buf := z.buf
	if z.kept || have+maxMatch > len(buf)/2 {
		size := max(window+minRoom, len(buf))
		if have+maxMatch > size/2 {
			size = 2 * (have + maxMatch)
		}
		buf = make([]byte, size)
		z.kept = false
	}
	copy(buf, z.buf[from:z.w])
	z.buf, z.w = buf, have
	z.start -= from
	return nil
}

// tooLong cuts the packet's output.
func (z *Inflater) tooLong() error {
	z.w = z.start + z.limit
	return ErrTooLong
}
