// Package packet holds the buffers that carry bulk data from a local socket to
// the wire without a copy.
//
// A Batch is one large buffer cut into slots. Each slot has room for a whole
// SSH packet: packet_length and padding_length in front (Head), the payload,
// and padding and tag behind. The channel layer reads from its local socket
// straight into the data areas of many slots with one system call; the
// transport seals each slot in place and writes them all with one more. Slots
// of full packets lie end to end, so that the write is one contiguous run.
//
// RFC 4253, section 6 (packet), RFC 4254, section 5.2 (CHANNEL_DATA).
package packet

import (
	"sync"

	"github.com/adit-ssh/adit/internal/wire"
)

const (
	// Head is the room in front of every payload: packet_length (4 bytes) and
	// padding_length (1).
	Head = 5
	// MaxTail is the greatest room needed behind a payload by any cipher: less
	// than two blocks of padding and the longest tag.
	MaxTail = 32 + 64
	// MaxData is the most data put into one CHANNEL_DATA, in bytes. It is what
	// OpenSSH announces and what RFC 4253, section 6.1, obliges all to take.
	MaxData = 32 << 10
	// MaxSlots is the most packets in one batch.
	MaxSlots = 32

	batchSize = MaxSlots*(Head+wire.ChannelDataHeader+MaxData+MaxTail) + MaxTail
)

var pool = sync.Pool{New: func() any { return &Batch{buf: make([]byte, batchSize)} }}

// Batch is up to MaxSlots CHANNEL_DATA packets of one channel.
//
// It is owned by one layer at a time: by its creator until it hands it to the
// transport, by the transport from then on.
type Batch struct {
	buf    []byte
	stride int // bytes from slot to slot
	data   int // capacity of a slot's data area
	slots  int // slots in this batch
	n      int // slots filled
	last   int // bytes of data in the last filled slot

	// Vec is room for the data areas of one read, for whoever owns the batch.
	Vec [MaxSlots][]byte
}

// New takes a batch from the pool. data is the most data for one packet, at
// most MaxData; stride is the whole length of such a packet once sealed.
// Release gives it back.
func New(data, stride int) *Batch {
	b := pool.Get().(*Batch)
	b.data, b.stride = data, stride
	b.slots = min(MaxSlots, (len(b.buf)-MaxTail)/stride)
	b.n, b.last = 0, 0
	return b
}

// Release returns the batch to the pool. Its slices must not be used again.
func (b *Batch) Release() { pool.Put(b) }

// Slots returns the number of slots.
func (b *Batch) Slots() int { return b.slots }

// DataCap returns the capacity of one slot's data area.
func (b *Batch) DataCap() int { return b.data }

// Data returns the data area of slot i, DataCap bytes.
func (b *Batch) Data(i int) []byte {
	at := i*b.stride + Head + wire.ChannelDataHeader
	return b.buf[at : at+b.data : at+b.data]
}

// Fill says that total bytes of data lie in the data areas, in order, and
// writes the CHANNEL_DATA headers for the given recipient channel.
func (b *Batch) Fill(recipient uint32, total int) {
	b.n = (total + b.data - 1) / b.data
	b.last = total - (b.n-1)*b.data
	for i := range b.n {
		at := i*b.stride + Head
		wire.PutChannelDataHeader(b.buf[at:at+wire.ChannelDataHeader], recipient, b.dataLen(i))
	}
}

func (b *Batch) dataLen(i int) int {
	if i == b.n-1 {
		return b.last
	}
	return b.data
}

// Len returns the number of packets filled.
func (b *Batch) Len() int { return b.n }

// Bytes returns how many bytes of data the batch holds.
func (b *Batch) Bytes() int {
	if b.n == 0 {
		return 0
	}
	return (b.n-1)*b.data + b.last
}

// Packet returns slot i from its head on, and the length of the payload that
// begins at Head. There is room for stride bytes; the slots behind it begin
// there.
func (b *Batch) Packet(i int) (slot []byte, payload int) {
	at := i * b.stride
	end := at + b.stride
	if i == b.n-1 {
		end += MaxTail // nothing lives behind the last one
	}
	return b.buf[at:end], wire.ChannelDataHeader + b.dataLen(i)
}
