package ssmgw

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"
)

// Faults are how messages fare, in each direction. Rates are 0 to 1, of messages.
type Faults struct {
	Delay     time.Duration // one way
	Drop      float64
	Duplicate float64
	Reorder   float64 // come up to 10 ms later than they should
	DropAcks  float64 // acknowledgements only
	Corrupt   float64 // a byte of the payload
	Unknown   float64 // a message of unknown type goes before
	Seed      uint64

	// CloseAfter closes the client's WebSocket with 1000 "Bye" each time that so
	// many bytes have passed, CloseEvery after a time; Closes is how often, 0 is
	// without limit.
	CloseAfter int64
	CloseEvery time.Duration
	Closes     int
	// HalfOpenAfter stops reading from the client after so many bytes, and leaves
	// it at that.
	HalfOpenAfter int64
	// PauseEvery sends pause_publication to both sides after so many messages of
	// the client, and start_publication 20 messages or 50 ms later.
	PauseEvery int
	// MaxPayload closes the WebSocket with 1009 for anything larger, in bytes; 0
	// is no limit.
	MaxPayload int
	// AwayAfter loses all that goes to the agent and comes from it for a time, as when
	// its own WebSocket ends, once so many bytes of its have passed; 0 is never.
	AwayAfter int64
	Away      time.Duration
}

// away is an agent whose WebSocket ends once.
type away struct {
	faults *Faults

	mu     sync.Mutex
	passed int64 // guarded by mu, as all below
	until  time.Time
}

// lost takes note of n bytes of the agent's, and reports whether nothing passes now.
func (a *away) lost(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.passed += int64(n); a.until.IsZero() && a.faults.AwayAfter > 0 && a.passed >= a.faults.AwayAfter {
		a.until = now.Add(a.faults.Away)
	}
	return now.Before(a.until)
}

// linkLimit is how many messages one direction holds. Who sends more waits.
const linkLimit = 1 << 15

// link is one direction of the gateway: messages in, and out again when their
// time has come.
type link struct {
	faults  *Faults
	deliver func([]byte) // may wait
	rand    *rand.Rand   // guarded by mu

	mu      sync.Mutex
	changed sync.Cond
	queue   arrivals // guarded by mu
	count   uint64
	closed  bool
	done    chan struct{}
}

type arrival struct {
	due   time.Time
	order uint64
	data  []byte
}

// arrivals is a heap by time.
type arrivals []arrival

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	return a[i].due.Before(a[j].due) || a[i].due.Equal(a[j].due) && a[i].order < a[j].order
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *arrivals) Push(x any) { *a = append(*a, x.(arrival)) }

// Pop implements heap.Interface.
func (a *arrivals) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = arrival{}
	*a = old[:len(old)-1]
	return x
}

func newLink(f *Faults, seed uint64, deliver func([]byte)) *link {
	l := &link{faults: f, deliver: deliver, rand: rand.New(rand.NewPCG(f.Seed, seed)), done: make(chan struct{})}
	l.changed.L = &l.mu
	go l.run()
	return l
}

// send takes a message, which is the link's from now on.
func (l *link) send(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) >= linkLimit && !l.closed {
		l.changed.Wait()
	}
	f, now := l.faults, time.Now()
	if isAck(b) && l.hitLocked(f.DropAcks) || l.hitLocked(f.Drop) {
		return
	}
	if l.hitLocked(f.Unknown) {
		l.pushLocked(makeFrame("from_the_future", 0, 3, 0, []byte("?")), now.Add(f.Delay))
	}
	if l.hitLocked(f.Duplicate) {
		l.pushLocked(append([]byte(nil), b...), now.Add(f.Delay))
	}
	if len(b) > headSize && l.hitLocked(f.Corrupt) {
		b = append([]byte(nil), b...)
		b[headSize+l.rand.IntN(len(b)-headSize)] ^= 0x10
	}
	due := now.Add(f.Delay)
	if l.hitLocked(f.Reorder) {
		due = due.Add(time.Duration(l.rand.Int64N(int64(10 * time.Millisecond))))
	}
	l.pushLocked(b, due)
}

// say takes a message of the gateway's own, which loses none of them: an agent that
// is paused, and never told to go on, waits for ever.
func (l *link) say(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pushLocked(b, time.Now().Add(l.faults.Delay))
}

func (l *link) hitLocked(rate float64) bool { return rate > 0 && l.rand.Float64() < rate }

func (l *link) pushLocked(b []byte, due time.Time) {
	l.count++
	heap.Push(&l.queue, arrival{due, l.count, b})
	l.changed.Broadcast()
}

func isAck(b []byte) bool { return len(b) > 15 && string(b[4:15]) == "acknowledge" }

func (l *link) run() {
	defer close(l.done)
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed {
		if len(l.queue) == 0 {
			l.changed.Wait()
			continue
		}
		if wait := time.Until(l.queue[0].due); wait > 0 {
			timer := time.AfterFunc(wait, func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.changed.Broadcast()
			})
			l.changed.Wait()
			timer.Stop()
			continue
		}
		a := heap.Pop(&l.queue).(arrival)
		l.changed.Broadcast()
		l.mu.Unlock()
		l.deliver(a.data)
		l.mu.Lock()
	}
}

// close drops what is on its way. It does not wait for deliver.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changed.Broadcast()
}
