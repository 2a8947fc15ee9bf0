package transport

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
)

// serve is called with the turn and gives it up: to nobody when all is written,
// to the flusher when the socket would block and wait is false. With own it
// stops once that batch is written.
func (o *outHalf) serve(wait bool, own *bulkItem) {
	for {
		if !o.collect() {
			return
		}
		if !o.write(wait) {
			return
		}
		if o.finishRound(own) && own != nil && wait {
			// Ours is done. Others' data is the flusher's matter.
			o.mu.Lock()
			more := o.workLocked()
			o.turn = more
			if !more {
				o.signalIdleLocked()
			}
			o.mu.Unlock()
			if more {
				o.flush <- struct{}{}
			}
			return
		}
	}
}

// write writes runs. It returns false when it did not write all: the flusher has
// the turn then, or the write failed and the turn is kept, so that nothing is
// written any more.
func (o *outHalf) write(wait bool) bool {
	all, stalled, err := o.sock.write(&o.runs, wait)
	if err != nil {
		o.mu.Lock()
		o.broken = true
		o.signalIdleLocked()
		o.mu.Unlock()
		o.fail(err)
		return false
	}
	if stalled {
		o.mu.Lock()
		o.stalled = true
		o.mu.Unlock()
	}
	if !all {
		o.flush <- struct{}{}
	}
	return all
}

// flusher is the goroutine that waits for the socket on behalf of those who may
// not wait.
func (o *outHalf) flusher() {
	for {
		select {
		case <-o.flush:
		case <-o.done:
			return
		}
		if len(o.runs) > 0 {
			if !o.write(true) {
				return
			}
			o.finishRound(nil)
		}
		o.serve(true, nil)
	}
}

// collect takes work from the lanes and seals it into runs. Without work it
// gives up the turn and returns false.
func (o *outHalf) collect() bool {
	o.mu.Lock()
	if !o.workLocked() {
		o.turn = false
		o.signalIdleLocked()
		o.mu.Unlock()
		return false
	}
	kex, preamble := o.kex, o.preamble
	o.kex, o.preamble = nil, nil
	for _, m := range kex {
		o.exchanging = m.begin || o.exchanging && m.next == nil
	}
	o.taken = o.taken[:0]
	budget := roundCap
	switch {
	case o.stalled, o.deflate != nil: // which takes longer than a socket
		budget = stalledCap
	case o.hurry.ever() && o.hurry.lately(time.Now()):
		budget = o.hurried
	}
	if !o.exchanging && !o.closing {
		if len(o.small) > 0 {
			o.small, o.taken = o.taken, o.small
			budget -= len(o.taken)
			if o.room != nil {
				close(o.room)
				o.room = nil
			}
		}
		o.takeBulkLocked(budget)
	}
	o.stalled = false
	o.mu.Unlock()
	o.seal(preamble, kex)
	return true
}

func (o *outHalf) signalIdleLocked() {
	if o.idle != nil && (o.broken || len(o.small) == 0 && len(o.bulk) == 0) {
		close(o.idle)
		o.idle = nil
	}
}

// takeBulkLocked takes packets of batches, up to budget bytes. Batches take
// turns when there are several.
func (o *outHalf) takeBulkLocked(budget int) {
	for budget > 0 && len(o.bulk) > 0 {
		it := o.bulk[0]
		share := budget
		if len(o.bulk) > 1 {
			share = min(share, sharedCap)
		}
		from := it.next
		for size := 0; it.next < it.batch.Len() && size < share; it.next++ {
			size += it.batch.DataCap()
			budget -= it.batch.DataCap()
		}
		o.spans = append(o.spans, span{it, from, it.next})
		o.bulk = slices.Delete(o.bulk, 0, 1)
		if it.next < it.batch.Len() {
			o.bulk = append(o.bulk, it)
		}
	}
	o.waiting.Store(int32(len(o.bulk)))
}

// seal seals what collect took, in wire order: key exchange, small messages,
// batches.
func (o *outHalf) seal(preamble []byte, kex []kexMsg) {
	o.sealed = append(o.sealed[:0], preamble...)
	for _, m := range kex {
		if m.loggedIn {
			o.loggedIn()
			continue
		}
		o.sealSmall(m.payload)
		if m.next != nil {
			o.setCipher(m.next)
			o.packets, o.bytes = 0, 0
			if m.reset {
				o.seq = 0
			}
			o.rekeyed(m.zlib)
		}
	}
	for b := o.taken; len(b) > 0; {
		n := 4 + int(binary.BigEndian.Uint32(b))
		o.sealSmall(b[4:n])
		if !o.zlib.open && b[4] == wire.NumUserauthSuccess { // a server's
			o.loggedIn()
			o.sentSuccess() // which queues at most
		}
		b = b[n:]
	}
	clear(o.taken) // passwords pass through here
	o.taken = o.taken[:0]
	if o.deflate != nil {
		o.sealSqueezed()
	}
	o.runs = o.base[:0]
	if len(o.sealed) > 0 {
		o.runs = append(o.runs, o.sealed)
	}
	if o.deflate == nil {
		for _, s := range o.spans {
			for i := s.from; i < s.to; i++ {
				o.sealSlot(s.it.batch.Packet(i))
			}
		}
	}
	o.base = o.runs
	o.grown(o.packets, o.bytes)
}

// sealSqueezed seals batches' packets into the buffer of this round, since
// compressed they have other lengths than their slots.
func (o *outHalf) sealSqueezed() {
	for _, s := range o.spans {
		for i := s.from; i < s.to; i++ {
			slot, n := s.it.batch.Packet(i)
			o.sealSmall(slot[packet.Head : packet.Head+n])
		}
	}
}

// sealSmall seals a payload into the buffer of this round.
func (o *outHalf) sealSmall(p []byte) {
	if o.deflate != nil {
		o.tell(p)
		p = o.squeeze(p)
	}
	at, size := len(o.sealed), o.cipher.SealedLen(len(p))
	o.sealed = slices.Grow(o.sealed, size)[:at+size]
	slot := o.sealed[at:]
	copy(slot[packet.Head:], p)
	if o.deflate == nil {
		o.tell(slot[packet.Head : packet.Head+len(p)])
	}
	o.sealOne(slot, len(p))
}

// sealSlot seals a batch's packet where it lies and joins it to the run before
// it when they touch.
func (o *outHalf) sealSlot(slot []byte, n int) {
	if o.cipher.SealedLen(n) > len(slot) {
		// The batch was laid out for another cipher, before a key exchange.
		grown := make([]byte, o.cipher.SealedLen(n))
		copy(grown, slot[:packet.Head+n])
		slot = grown
	}
	o.tell(slot[packet.Head : packet.Head+n])
	p := o.sealOne(slot, n)
	if last := len(o.runs) - 1; last >= 0 {
		r := o.runs[last]
		if end := len(r); cap(r)-end >= len(p) && &r[:end+1][end] == &p[0] {
			o.runs[last] = r[:end+len(p)]
			return
		}
	}
	o.runs = append(o.runs, p[:len(p):cap(p)])
}

// tell tells the tracer about the next packet.
func (o *outHalf) tell(p []byte) {
	if o.traced != nil {
		o.traced(o.seq, p)
	}
}

func (o *outHalf) sealOne(slot []byte, n int) []byte {
	p := o.cipher.Seal(o.seq, slot, n, o.pad)
	o.seq++
	o.packets++
	o.bytes += uint64(len(p))
	return p
}

// finishRound lets go of the batches that were written to their end. It reports
// whether own is among them.
func (o *outHalf) finishRound(own *bulkItem) (ownDone bool) {
	if cap(o.sealed) > 2*smallLaneCap {
		o.sealed = nil
	}
	clear(o.base)
	o.runs = nil
	if len(o.spans) == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, s := range o.spans {
		o.spans[i] = span{}
		if s.to < s.it.batch.Len() {
			continue
		}
		s.it.batch.Release()
		s.it.batch = nil
		if s.it.left {
			bulkItems.Put(s.it)
			continue
		}
		ownDone = ownDone || s.it == own
		s.it.done <- struct{}{}
	}
	o.spans = o.spans[:0]
	return ownDone
}
