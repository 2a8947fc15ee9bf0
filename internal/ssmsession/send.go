package ssmsession

import (
	"container/list"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

// Limits of what is kept to be sent.
const (
	queueLimit = 256 << 10 // bytes that were written and are in no frame yet
	maxSpan    = 8192      // messages from the first that is not acked; AWS's programs keep 10 000
	maxAcks    = 8192      // acks that wait; one that finds no room is asked for again
)

// An ack waits for others, or for data that it can leave with, so that not each
// message costs a system call and a goroutine's turn. AWS's agent adds at least
// 10 ms to the round trip that it measures before it sends anything again, and has
// no window that acks would open.
const (
	ackDelay = 5 * time.Millisecond
	ackBatch = 64
)

// Sizes of a message's payload, in bytes. AWS's plugin sends the first.
const (
	chunkLeast   = 1 << 10
	chunkDefault = 16 << 10
	chunkMost    = 64 << 10
)

const (
	chunkFactor  = 4  // growth at once
	chunkProven  = 32 // full messages that are acked before
	chunkTries   = 3  // timeouts of a larger message until it is held against it
	lossDistance = 3  // later transmissions that are acked when one is lost
)

// message is one of ours on its way. All is guarded by Session.mu, but data once
// sealed is never changed.
type message struct {
	sequence     int64
	payloadType  uint32
	data         []byte // the frame, head included; nil once acked
	size         int    // of the payload
	sealed       bool
	acked        bool
	flight       *list.Element // in sender.flight; nil when lost, or before the first time
	transmission uint64        // counts all that is sent; this one's last
	sentAt       time.Time
	times        int // that it was sent
	timeouts     int
}

// sender is the state of what we send. Guarded by Session.mu.
type sender struct {
	queue ring // bytes in no message yet

	kept   []*message // from the first that is not acked; consecutive numbers
	next   int64      // sequence number of the next message
	lost   []*message // to be sent again, oldest first
	acks   []ack
	acking map[int64]bool // the sequence numbers in acks
	ackDue time.Time      // when the first of acks has waited long enough
	extra  []*message     // handshake and flags that have no number yet

	flight       list.List // of *message, in the order of transmission
	flying       int       // bytes of payload in flight
	transmission uint64
	ackedLast    uint64 // the newest transmission that is known to have arrived

	rtt      rtt
	window   window
	held     bool      // by the window, and not by who writes
	progress time.Time // of the last ack, or since something waits for one
	acked    uint64    // messages

	chunk, chunkLimit int
	full              int      // messages of chunk bytes acked since it is that
	probe             *message // the first of a larger size, while it is not acked
}

// ack is an acknowledgement to be sent.
type ack struct {
	id       ssmwire.ID
	sequence int64
}

// pick is what the writer is to send.
type pick struct {
	acks []ack
	msgs []*message
}

// pickBytes is the most payload that is picked at once.
const pickBytes = 256 << 10

// pickLocked chooses what to send now: acks, then what was lost, then what is
// new. open says that the handshake is over, and the session is not.
func (s *sender) pickLocked(now time.Time, open bool) (p pick) {
	defer func() {
		if len(p.msgs) > 0 || !open || len(s.acks) >= ackBatch || !now.Before(s.ackDue) {
			p.acks = s.takeAcksLocked(now)
		}
	}()
	bytes := 0
	for bytes < pickBytes {
		m := s.nextLocked(open)
		if m == nil {
			break
		}
		s.flyLocked(m, now)
		bytes += m.size
		p.msgs = append(p.msgs, m)
	}
	return p
}

// takeAcksLocked takes acks that are to leave now.
func (s *sender) takeAcksLocked(now time.Time) []ack {
	n := min(len(s.acks), ackBatch)
	acks := s.acks[:n:n]
	for _, a := range acks {
		delete(s.acking, a.sequence)
	}
	if s.acks = s.acks[n:]; len(s.acks) == 0 {
		s.acks = nil
	} else {
		s.ackDue = now
	}
	return acks
}

// nextLocked is one message to be sent now, or nil.
func (s *sender) nextLocked(open bool) *message {
	for len(s.lost) > 0 {
		m := s.lost[0]
		if m.acked {
			s.lost = s.lost[1:]
			continue
		}
		if s.flying > 0 && s.flying+m.size > s.window.size {
			return nil
		}
		s.lost = s.lost[1:]
		return m
	}
	if len(s.extra) > 0 && (!open || s.queue.n == 0) {
		m := s.extra[0]
		s.extra = s.extra[1:]
		return s.keepLocked(m)
	}
	if s.queue.n == 0 {
		s.held = false
	}
	if !open || s.queue.n == 0 || s.probe != nil || len(s.kept) >= maxSpan {
		return nil
	}
	size := s.chunk
	probing := s.full >= chunkProven && size < s.chunkLimit && s.queue.n > 2*size
	if probing {
		size = min(size*chunkFactor, s.chunkLimit)
	}
	size = min(size, s.queue.n)
	if s.flying > 0 && s.flying+size > s.window.size {
		s.held = true
		return nil
	}
	m := &message{payloadType: ssmwire.PayloadData, data: make([]byte, ssmwire.HeaderSize+size), size: size}
	s.queue.take(m.data[ssmwire.HeaderSize:])
	if size > s.chunk {
		s.probe = m
	}
	return s.keepLocked(m)
}

// controlLocked queues a message that is no data.
func (s *sender) controlLocked(payloadType uint32, payload []byte) *message {
	m := &message{payloadType: payloadType, size: len(payload)}
	m.data = append(make([]byte, ssmwire.HeaderSize), payload...)
	s.extra = append(s.extra, m)
	return m
}

// keepLocked gives a message its number.
func (s *sender) keepLocked(m *message) *message {
	m.sequence = s.next
	s.next++
	s.kept = append(s.kept, m)
	return m
}

// flyLocked notes that a message is sent now.
func (s *sender) flyLocked(m *message, now time.Time) {
	if s.flight.Len() == 0 && len(s.lost) == 0 && m.times == 0 {
		s.progress = now
	}
	s.transmission++
	m.transmission, m.sentAt = s.transmission, now
	m.times++
	m.flight = s.flight.PushBack(m)
	s.flying += m.size
}

// landLocked takes a message out of flight.
func (s *sender) landLocked(m *message) {
	if m.flight != nil {
		s.flight.Remove(m.flight)
		m.flight = nil
		s.flying -= m.size
	}
}

// ackedLocked takes in an acknowledgement. It reports whether there is room for
// more to be sent.
func (s *sender) ackedLocked(sequence int64, now time.Time) bool {
	if len(s.kept) == 0 {
		return false
	}
	i := sequence - s.kept[0].sequence
	if i < 0 || i >= int64(len(s.kept)) {
		return false // acked before, or never sent: nothing to us
	}
	m := s.kept[i]
	if m.acked || m.times == 0 {
		return false
	}
	s.progress = now
	s.acked++
	trip := now.Sub(m.sentAt)
	if m.times == 1 {
		s.rtt.sample(trip)
	}
	// An ack says what arrived, not which of its transmissions. It can't be the
	// last one if that was sent a moment ago.
	if m.times == 1 || trip >= s.rtt.least {
		s.ackedLast = max(s.ackedLast, m.transmission)
	}
	s.landLocked(m)
	s.window.acked(m.size, s.chunk, s.held)
	m.acked, m.data = true, nil
	s.chunkAckedLocked(m)
	for len(s.kept) > 0 && s.kept[0].acked {
		s.kept[0] = nil
		s.kept = s.kept[1:]
	}
	s.overtakenLocked(now)
	return true
}

// overtakenLocked finds what must be lost, since later transmissions arrived.
func (s *sender) overtakenLocked(now time.Time) {
	for e := s.flight.Front(); e != nil; e = s.flight.Front() {
		m := e.Value.(*message)
		if m.transmission+lossDistance > s.ackedLast {
			return
		}
		s.loseLocked(m, now)
	}
}

func (s *sender) loseLocked(m *message, now time.Time) {
	s.landLocked(m)
	s.lost = append(s.lost, m)
	s.window.shrink(now, s.rtt.smoothed)
}

// expireLocked acts on the oldest transmission's timeout.
func (s *sender) expireLocked(now time.Time) {
	e := s.flight.Front()
	if e == nil {
		return
	}
	m := e.Value.(*message)
	if now.Sub(m.sentAt) < s.rtt.timeout() {
		return
	}
	s.rtt.expired()
	m.timeouts++
	if m.timeouts >= chunkTries && m.size > chunkLeast {
		s.chunkFailedLocked()
	}
	// It goes before the others that are lost: the agent delivers nothing until
	// it has come.
	s.landLocked(m)
	s.lost = append([]*message{m}, s.lost...)
	s.window.shrink(now, s.rtt.timeout())
}

// stalledLocked reports whether nothing was acked for too long.
func (s *sender) stalledLocked(now time.Time, limit time.Duration) bool {
	return len(s.kept) > 0 && now.Sub(s.progress) >= limit
}

// timerLocked is when expireLocked or stalledLocked has something to do; ok is
// false if that is never.
func (s *sender) timerLocked(limit time.Duration) (at time.Time, ok bool) {
	if len(s.kept) == 0 {
		return at, false
	}
	at = s.progress.Add(limit)
	if e := s.flight.Front(); e != nil {
		if rto := e.Value.(*message).sentAt.Add(s.rtt.timeout()); rto.Before(at) {
			at = rto
		}
	}
	return at, true
}

// againLocked lets everything that is not acked be sent again, on a new
// WebSocket. tooBig says that the old one was closed for the size of a message.
func (s *sender) againLocked(tooBig bool) {
	s.flight.Init()
	s.flying, s.lost = 0, nil
	for _, m := range s.kept {
		m.flight = nil
		if !m.acked && m.times > 0 {
			s.lost = append(s.lost, m)
		}
	}
	if s.probe != nil || tooBig {
		s.splitProbeLocked(tooBig)
		s.chunkFailedLocked()
	}
}
