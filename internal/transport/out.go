package transport

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/zstream"
)

// outHalf is the sending direction. Messages wait in three lanes (ARCHITECTURE.md,
// section 2); whoever holds the turn seals and writes them.
//
//	queue ──► kick ──► turn free? ──no──► (the holder will find it)
//	                      │yes
//	                      ▼
//	   ┌──────────► collect, seal ──nothing──► turn is free
//	   │                  │
//	   │                  ▼        would block
//	   └─── all ◄── write without ─────────────► flusher owns the turn and
//	      written    waiting                     writes with waiting
type outHalf struct {
	// Immutable.
	sock        socket
	traced      func(seq uint32, payload []byte) // nil without a packet tracer
	fail        func(error)                      // told once, when a write fails; nothing is written after that
	grown       func(packets, bytes uint64)      // tells the counters since NEWKEYS
	flush       chan struct{}                    // hands the turn to the flusher; capacity 1, as there is one turn
	done        <-chan struct{}                  // closed when the connection has ended
	hurry       *hurry
	compressing func() // told when a compressed stream begins
	sentSuccess func() // told when a server's success of the login was sealed

	mu sync.Mutex
	// Guarded by mu.
	kex        []kexMsg
	small      []byte // u32 length and payload, one behind the other
	bulk       []*bulkItem
	turn       bool          // somebody seals and writes
	corked     bool          // WritePacket does not kick
	exchanging bool          // between our KEXINIT and our NEWKEYS: only the kex lane is served
	closing    bool          // nothing but the kex lane is served any more
	room       chan struct{} // closed when the small lane was emptied; nil while nobody waits
	idle       chan struct{} // closed when all was written; nil while nobody waits
	hurried    int           // hurriedCap or pacedCap
	stalled    bool          // the last write did not go out whole
	broken     bool          // a write failed: nobody need wait for idle
	preamble   []byte        // the version line, until it was sent

	// Atomic.
	waiting atomic.Int32                      // batches in the bulk lane
	current atomic.Pointer[algo.PacketCipher] // what seals now, for SealedLen only

	// Owned by the holder of the turn.
	cipher  algo.PacketCipher
	seq     uint32
	packets uint64
	bytes   uint64
	pad     io.Reader
	taken   []byte   // small messages being sealed; swapped with small
	sealed  []byte   // where they are sealed
	runs    [][]byte // what is to be written
	base    [][]byte // runs before anything was taken off it
	spans   []span   // packets of batches in runs

	zlib     compression
	deflate  *zstream.Deflater // nil while nothing is compressed
	deflater *zstream.Deflater // deflate, now or before
	squeezed []byte            // a compressed payload
	tally    tally
}

// kexMsg is an entry of the kex lane.
type kexMsg struct {
	payload  []byte
	begin    bool              // KEXINIT: the other lanes stop
	next     algo.PacketCipher // not nil for NEWKEYS: the cipher from there on; the other lanes go on
	reset    bool              // with next: the sequence number starts over
	zlib     bool              // with next: what follows is compressed, once logged in
	loggedIn bool              // no message: the login was a success
}

// bulkItem is a batch in the bulk lane.
type bulkItem struct {
	batch *packet.Batch
	next  int           // first packet not sealed; guarded by mu
	done  chan struct{} // capacity 1; told when the batch was written
	left  bool          // nobody waits for done; guarded by mu
}

// span is packets [from, to) of a batch, taken for one round.
type span struct {
	it       *bulkItem
	from, to int
}

var bulkItems = sync.Pool{New: func() any { return &bulkItem{done: make(chan struct{}, 1)} }}

const (
	// roundCap is how much is sealed and written at once while the socket
	// takes it all; stalledCap is how much once it did not, so that what comes
	// later in a higher lane does not wait behind much.
	roundCap   = 2 << 20
	stalledCap = 128 << 10
	// hurriedCap is how much while there is a hurry, and pacedCap if the peer tells
	// at once what it took, as adit does, so that there is always a little to send.
	hurriedCap = 64 << 10
	pacedCap   = 32 << 10
	// sharedCap is the most taken from one batch in a round while others wait.
	sharedCap = 256 << 10
)

func (o *outHalf) init(sock socket, seed [32]byte, done <-chan struct{}, h *hurry) {
	o.sock, o.done, o.hurry, o.hurried = sock, done, h, hurriedCap
	o.flush = make(chan struct{}, 1)
	o.pad = rand.NewChaCha8(seed)
	o.setCipher(algo.Plain())
}

func (o *outHalf) setCipher(c algo.PacketCipher) {
	o.cipher = c
	o.current.Store(&c)
}

// paced notes that the peer tells at once what it took.
func (o *outHalf) paced() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hurried = pacedCap
}

// queueVersion puts the version line before the first packet.
func (o *outHalf) queueVersion(version string) {
	o.mu.Lock()
	o.exchanging = true
	o.preamble = []byte(version + "\r\n")
	o.mu.Unlock()
}

// queueSmall puts a payload into the small lane. With wait it waits for room
// until cancel is closed.
func (o *outHalf) queueSmall(p []byte, wait bool, cancel <-chan struct{}) error {
	o.mu.Lock()
	for wait && len(o.small) >= smallLaneCap {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.corked = false // a cork that is full comes off
		o.mu.Unlock()
		o.kick()
		select {
		case <-room:
		case <-cancel:
			return packet.ErrCancelled
		case <-o.done:
			return errEnded
		}
		o.mu.Lock()
	}
	defer o.kick()
	defer o.mu.Unlock()
	if o.closing {
		return errEnded
	}
	if len(o.small)+len(p) > smallLaneCap+queueCap {
		return errOverflow
	}
	o.small = binary.BigEndian.AppendUint32(o.small, uint32(len(p)))
	o.small = append(o.small, p...)
	return nil
}

// queueKex puts messages into the kex lane. It does not kick.
func (o *outHalf) queueKex(msgs ...kexMsg) {
	o.mu.Lock()
	for _, m := range msgs {
		o.exchanging = o.exchanging || m.begin
	}
	o.kex = append(o.kex, msgs...)
	o.mu.Unlock()
}

// writeBatch puts a batch into the bulk lane and waits until it was written.
func (o *outHalf) writeBatch(b *packet.Batch, cancel <-chan struct{}) error {
	if b.Len() == 0 {
		b.Release()
		return nil
	}
	it := bulkItems.Get().(*bulkItem)
	it.batch, it.next, it.left = b, 0, false
	o.mu.Lock()
	if o.closing {
		o.mu.Unlock()
		b.Release()
		return errEnded
	}
	o.bulk = append(o.bulk, it)
	o.waiting.Store(int32(len(o.bulk)))
	take := o.takeLocked()
	o.mu.Unlock()
	if take {
		// Without cancel we may wait for the socket ourselves: we have nothing
		// else to do until the batch is written.
		o.serve(cancel == nil, it)
	}
	select {
	case <-it.done:
		bulkItems.Put(it)
		return nil
	default:
	}
	select {
	case <-it.done:
		bulkItems.Put(it)
		return nil
	case <-cancel:
		return o.abandon(it)
	case <-o.done:
		return errEnded // the batch may be in use by a holder that is just failing
	}
}

// abandon gives up waiting for it.
func (o *outHalf) abandon(it *bulkItem) error {
	o.mu.Lock()
	if i := slices.Index(o.bulk, it); i >= 0 && it.next == 0 {
		o.bulk = slices.Delete(o.bulk, i, i+1)
		o.waiting.Store(int32(len(o.bulk)))
		o.mu.Unlock()
		it.batch.Release()
		bulkItems.Put(it)
		return packet.ErrCancelled
	}
	it.left = true
	o.mu.Unlock()
	return nil
}

// kick serves the lanes if nobody does.
func (o *outHalf) kick() {
	o.mu.Lock()
	take := o.takeLocked()
	o.mu.Unlock()
	if take {
		// Others that are ready, too, as hundreds of channels are at once, get to
		// queue theirs first: it all leaves in one packet, and the peer wakes once.
		runtime.Gosched()
		o.serve(false, nil)
	}
}

func (o *outHalf) takeLocked() bool {
	if o.turn || !o.workLocked() {
		return false
	}
	o.turn = true
	return true
}

func (o *outHalf) workLocked() bool {
	switch {
	case len(o.kex) > 0:
		return true
	case o.exchanging || o.closing || o.corked:
		return false
	}
	return len(o.small) > 0 || len(o.bulk) > 0
}

// cork holds the small and bulk lanes back, or lets them go.
func (o *outHalf) cork(on bool) {
	o.mu.Lock()
	o.corked = on
	o.mu.Unlock()
	o.kick()
}

// waitIdle returns a channel that is closed once all that is queued is written.
func (o *outHalf) waitIdle() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	idle := o.idle
	if idle == nil {
		idle = make(chan struct{})
		o.idle = idle
	}
	if !o.turn || o.broken {
		o.signalIdleLocked()
	}
	return idle
}

// lastWord queues a payload before all else and stops the other lanes. The
// channel it returns is closed once it is written.
func (o *outHalf) lastWord(p []byte) <-chan struct{} {
	o.mu.Lock()
	o.closing = true
	o.kex = append(o.kex, kexMsg{payload: p})
	o.small, o.bulk = nil, nil
	o.mu.Unlock()
	o.kick()
	return o.waitIdle()
}

// stop ends all queueing. Those who wait find done closed.
func (o *outHalf) stop() {
	o.mu.Lock()
	o.closing = true
	o.mu.Unlock()
}
