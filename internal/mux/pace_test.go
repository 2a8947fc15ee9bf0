package mux

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// taker is a fluid model of a peer whose application takes so many bytes a
// second, and which grants more each time it took a step. Grants arrive half a
// round trip later, data likewise.
type taker struct {
	rate   float64
	rtt    time.Duration
	window uint32
	step   uint32
}

// run has a sender that is infinitely fast send for a time, and returns what the
// peer took a second and the most that was on its way in the second half.
func (k taker) run(d time.Duration) (rate float64, most uint32) {
	type grant struct {
		at time.Time
		n  uint32
	}
	var (
		p       pacer
		grants  []grant
		start   = time.Unix(1, 0)
		left    = k.window
		there   float64 // bytes that wait at the peer, or are on the line
		total   float64
		untold  float64
		tick    = max(k.rtt/50, 5*time.Microsecond)
		pipe    []float64 // sent in each of the last ticks of half a round trip
		halfRTT = int(k.rtt / 2 / tick)
	)
	for now := start; now.Sub(start) < d; now = now.Add(tick) {
		for len(grants) > 0 && !grants[0].at.After(now) {
			left += grants[0].n
			p.granted(now, grants[0].n, left, k.rtt, paceSlack)
			grants = grants[1:]
		}
		n := p.room(left)
		left -= n
		pipe = append(pipe, float64(n))
		if len(pipe) > halfRTT {
			there, pipe = there+pipe[0], pipe[1:]
		}
		took := min(there, k.rate*tick.Seconds())
		there -= took
		total += took
		if untold += took; untold >= float64(k.step) {
			grants = append(grants, grant{now.Add(k.rtt / 2), uint32(untold)})
			untold -= float64(uint32(untold))
		}
		if now.Sub(start) > d/2 {
			most = max(most, k.window-left)
		}
	}
	return total / d.Seconds(), most
}

func TestPacerKeepsTheWayShortAndFull(t *testing.T) {
	for _, c := range []struct {
		what string
		peer taker
		most uint32
	}{
		{"sshd on loopback", taker{600 * mib, 50 * time.Microsecond, 2 * mib, 96 << 10}, 400 << 10},
		{"sshd on loopback, busy", taker{100 * mib, 50 * time.Microsecond, 2 * mib, 96 << 10}, 256 << 10},
		{"a thin line, 20 ms", taker{12 * mib, 20 * time.Millisecond, 2 * mib, 96 << 10}, 600 << 10},
		{"a peer that grants half its window, busy", taker{100 * mib, 200 * time.Microsecond, 2 * mib, 1 * mib}, 1300 << 10},
		{"the same on a thin line, 20 ms", taker{12 * mib, 20 * time.Millisecond, 2 * mib, 1 * mib}, 1600 << 10},
		{"adit with bulk alone", taker{800 * mib, 200 * time.Microsecond, 4 * mib, 512 << 10}, 900 << 10},
		{"a line of 1 Gbit/s, 10 ms", taker{120 * mib, 10 * time.Millisecond, 2 * mib, 96 << 10}, 2 * mib},
	} {
		limit := min(c.peer.rate, float64(c.peer.window)/c.peer.rtt.Seconds())
		rate, most := c.peer.run(2 * time.Second)
		if rate < 0.95*limit {
			t.Errorf("%s: the peer took %.0f MiB/s, want %.0f", c.what, rate/mib, limit/mib)
		}
		if most > c.most {
			t.Errorf("%s: %d KiB were on their way, want %d at the most", c.what, most>>10, c.most>>10)
		}
	}
}

// A peer that tells of less and less at once is followed at once, and back by and by.
func TestPacerGrain(t *testing.T) {
	var p pacer
	for _, c := range []struct {
		times int
		n     uint32
		least uint32
		most  uint32
	}{
		{1, 1 << 20, 1 << 20, 1 << 20},
		{1, 64 << 10, 64 << 10, 72 << 10},
		{1, 1 << 20, 72 << 10, 82 << 10},
		{30, 1 << 20, 1 << 20, 1 << 20},
		{1, 1<<32 - 1, 1 << 20, 9 << 17},
		{200, 1<<32 - 1, 1<<32 - 1, 1<<32 - 1},
		{1, 0, 0, 0},
	} {
		for range c.times {
			p.granted(time.Unix(1, 0), c.n, 0, 0, 0)
		}
		if p.grain < c.least || p.grain > c.most+1 && c.most < 1<<32-1 {
			t.Errorf("after %d grants of %d the grain is %d, want %d to %d", c.times, c.n, p.grain, c.least, c.most)
		}
	}
}

// Without a known round trip nothing is held back.
func TestPacerWithoutRoundTrip(t *testing.T) {
	var p pacer
	p.room(testFirst)
	for now := time.Unix(1, 0); now.Before(time.Unix(2, 0)); now = now.Add(time.Millisecond) {
		p.granted(now, 96<<10, 96<<10, 0, 0)
		if got := p.room(96 << 10); got != 96<<10 {
			t.Fatalf("%d of %d bytes may be sent", got, 96<<10)
		}
	}
}

// pacedConn is a PacketConn that only knows its round trip.
type pacedConn struct {
	PacketConn
	rtt time.Duration
}

func (c pacedConn) MeasureRTT()        {}
func (c pacedConn) RTT() time.Duration { return c.rtt }

// pacedChannel is a channel beside which small data is exchanged, whose peer
// took its data at a rate of 96 KiB in 10 ms so far.
func pacedChannel() *Channel {
	m := &Mux{pc: pacedConn{rtt: time.Millisecond}}
	c := m.newChannel("test", Options{})
	c.state, c.outLeft = stateOpen, 2*mib
	c.roomLocked()
	for range 20 {
		<-time.After(10 * time.Millisecond)
		c.outLeft -= 96 << 10
		c.adjusted(96 << 10)
	}
	m.mixedAt.Store(time.Now().UnixNano())
	return c
}

// hurriedConn is a PacketConn that counts hurries.
type hurriedConn struct {
	PacketConn
	n int
}

func (c *hurriedConn) Hurry() { c.n++ }

// One piece of small data begins or ends a transfer. Three are a conversation, but
// not if they come one by one, seconds apart, and not on a channel with bulk.
func TestThreeSmallPiecesAreAConversation(t *testing.T) {
	for what, c := range map[string]struct {
		n     int
		apart time.Duration
		in    float64 // rate of what the channel took until now
		out   float64 // and sent
		past  time.Duration
		mixed bool
	}{
		"two":                       {n: 2, apart: time.Millisecond},
		"three":                     {n: 3, apart: time.Millisecond, mixed: true},
		"three, typed":              {n: 3, apart: mixedTime - time.Millisecond, mixed: true},
		"three, far apart":          {n: 3, apart: mixedTime},
		"on a channel with bulk":    {n: 9, apart: time.Millisecond, in: bulkRate},
		"an upload's acks":          {n: 9, apart: time.Millisecond, out: bulkRate},
		"on a long-lived channel":   {n: 3, apart: time.Millisecond, in: bulkRate / 2, out: bulkRate / 2, mixed: true},
		"behind bulk that is over":  {n: 3, apart: time.Millisecond, in: bulkRate, out: bulkRate, past: mixedTime, mixed: true},
		"behind bulk, a moment ago": {n: 9, apart: time.Millisecond, in: bulkRate, past: mixedTime / 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			var pc hurriedConn
			m := &Mux{pc: &pc}
			ch := m.newChannel("test", Options{})
			ch.state, ch.inLeft, ch.bytesIn = stateOpen, 1<<20, 1
			ch.tuner.rate, ch.tuner.since = c.in, time.Now()
			ch.pace.tuner.rate, ch.pace.tuner.since = c.out, time.Now()
			<-time.After(c.past)
			for i := range c.n {
				if i > 0 {
					<-time.After(c.apart)
				}
				if _, err := ch.admitLocked(64, "DATA"); err != nil {
					t.Fatal(err)
				}
			}
			if m.mixed() != c.mixed || (pc.n > 0) != c.mixed {
				t.Errorf("%s: mixed is %v after %d hurries, want %v", what, m.mixed(), pc.n, c.mixed)
			}
			<-time.After(mixedTime)
			if m.mixed() {
				t.Errorf("%s: still mixed after %v", what, mixedTime)
			}
		})
	}
}

// Bulk keeps its queue short before small data comes again, where others had such
// and the way is not so wide that nobody would feel it.
func TestBulkYields(t *testing.T) {
	for what, c := range map[string]struct {
		rate   float64
		small  int // pieces that the other channel had
		past   time.Duration
		closed bool
		itself bool // the bulk channel had small data, too
		want   bool
	}{
		"a thin line":        {rate: 12 * mib, small: 1, want: true},
		"both talked":        {rate: 12 * mib, small: 1, itself: true, want: true},
		"nobody else":        {rate: 12 * mib, itself: true},
		"none of them yet":   {rate: 12 * mib},
		"a wide way":         {rate: 300 * mib, small: 1},
		"no bulk":            {rate: bulkRate / 2, small: 1},
		"bulk that is over":  {rate: 12 * mib, small: 1, past: mixedTime},
		"the other one left": {rate: 12 * mib, small: 1, closed: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			pc := &adjustConn{pacedConn: pacedConn{rtt: 20 * time.Millisecond}}
			m := &Mux{pc: pc, cfg: Config{Window: testFirst, WindowMax: testMost, Budget: testMost}}
			bulk, other := m.newChannel("bulk", Options{}), m.newChannel("other", Options{})
			for _, ch := range []*Channel{bulk, other} {
				ch.state, ch.inLeft, ch.outLeft, ch.bytesIn = stateOpen, testFirst, testFirst, 1
			}
			small := func(ch *Channel, n int) {
				for range n {
					if _, err := ch.admitLocked(64, "DATA"); err != nil {
						t.Fatal(err)
					}
				}
			}
			small(other, c.small)
			if c.itself {
				small(bulk, 1)
			}
			if c.closed {
				other.endLocked()
			}
			bulk.roomLocked() // all that is left is the peer's window
			for _, way := range []*tuner{&bulk.tuner, &bulk.pace.tuner} {
				way.rate, way.since = c.rate, time.Now()
			}
			bulk.pace.ahead = 512 << 10
			<-time.After(c.past)
			if got := bulk.roomLocked() <= 512<<10; got != c.want {
				t.Errorf("%s: %d KiB may be sent of %d", what, bulk.roomLocked()>>10, testFirst>>10)
			}
			<-time.After(50 * time.Millisecond)
			bulk.takenLocked(testFirst / 4)
			if got := bulk.window < testFirst; got != c.want {
				t.Errorf("%s: the window is %d KiB, at first it was %d", what, bulk.window>>10, testFirst>>10)
			}
			m.giveBack(int64(bulk.borrowed))
		})
	}
}

// A peer that grants nothing until it took more than we let on its way must not
// wait for us while we wait for it, and a window that narrowed is not taken for
// data on its way.
func TestPacerLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, began, sent := pacedChannel(), time.Now(), 0
		for sent < 2*mib {
			n, err := c.waitRoom(nil)
			if err != nil || n == 0 {
				t.Fatalf("after %d bytes: %d, %v", sent, n, err)
			}
			if err := c.reserve(n); err != nil {
				t.Fatal(err)
			}
			if sent += n; sent == n && n > 256<<10 {
				t.Fatalf("the first room is %d bytes, so nothing is held back", n)
			}
		}
		hold := 2*time.Millisecond + paceHold
		if took, most := time.Since(began), 12*hold; took > most {
			t.Errorf("the window was sent in %v, want %v at the most: one hold for each %d KiB", took, most, 2*paceGrain>>10)
		}
	})
}

// adjustConn is a PacketConn that adds up what is granted.
type adjustConn struct {
	pacedConn
	granted uint32
}

func (c *adjustConn) QueuePacket(p []byte) error {
	_, n, ok := wire.ParseChannelWindowAdjust(p)
	if !ok {
		return errors.New("no CHANNEL_WINDOW_ADJUST")
	}
	c.granted += n
	return nil
}

// A window that is to become narrower grants nothing for a while. A peer that paces
// itself would take that for a queue, and wait.
func TestPacingPeerHearsOfAll(t *testing.T) {
	for what, want := range map[string]struct{ paces, mixed, accompanied, all bool }{
		"paces beside small data":                {true, true, false, true},
		"paces where others have had small data": {true, false, true, true},
		"paces, and is alone":                    {true, false, false, false},
		"does not pace":                          {false, true, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			pc := &adjustConn{pacedConn: pacedConn{rtt: time.Millisecond}}
			m := &Mux{pc: pc, cfg: Config{PeerPaces: want.paces, Window: testFirst, WindowMax: testMost, Budget: testMost}}
			c := m.newChannel("test", Options{})
			c.state, c.inLeft = stateOpen, testFirst
			c.tuner.start(time.Now())
			c.consumed = -mib // was 3 MiB a moment ago
			if want.mixed {
				m.mixedAt.Store(time.Now().UnixNano())
			}
			if want.accompanied {
				m.talks.Add(1)
			}
			const step = 128 << 10
			for range 8 {
				<-time.After(10 * time.Millisecond)
				c.inLeft -= step
				c.takenLocked(step)
			}
			m.giveBack(int64(c.borrowed))
			if (pc.granted >= 8*step) != want.all {
				t.Errorf("a peer that %s: %d bytes were granted of %d taken", what, pc.granted, 8*step)
			}
		})
	}
}

// When small data has ended, what is held back goes at the next occasion.
func TestPacerEndsWithSmallData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pacedChannel()
		<-time.After(mixedTime)
		if n, err := c.waitRoom(nil); n != 2*mib || err != nil {
			t.Errorf("%d bytes may be sent, %v; want all %d", n, err, 2*mib)
		}
	})
}

// A grant, the channel's end and a deadline each end the wait of a sender that
// is held back.
func TestPacerIsWoken(t *testing.T) {
	for what, event := range map[string]func(c *Channel){
		"grant":    func(c *Channel) { c.adjusted(192 << 10) },
		"close":    func(c *Channel) { c.mu.Lock(); c.closed = true; c.mu.Unlock(); wake(c.wr) },
		"deadline": func(c *Channel) { c.SetWriteDeadline(time.Now()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			c := pacedChannel()
			n, _ := c.waitRoom(nil)
			c.reserve(n)
			began := time.Now()
			time.AfterFunc(time.Millisecond, func() { event(c) })
			n, err := c.waitRoom(c.sendEnd.wait())
			if took := time.Since(began); took != time.Millisecond {
				t.Errorf("%s: woken after %v, want 1 ms", what, took)
			}
			if (n > 0) != (what == "grant") || (err != nil) != (what != "grant") {
				t.Errorf("%s: %d bytes, %v", what, n, err)
			}
		})
	}
}
