package mux

import (
	"testing"
	"time"
)

// path is a fluid model of a way with so many bytes a second and a round trip:
// what a window holds beyond the product of both stands in a queue.
type path struct {
	bandwidth float64
	rtt       time.Duration
	now       time.Time
	window    uint32
	tuner     tuner
}

const (
	mib       = 1 << 20
	testFirst = 2 * mib
	testMost  = 64 * mib
)

func newPath(bandwidth float64, rtt time.Duration) *path {
	p := &path{bandwidth: bandwidth, rtt: rtt, now: time.Unix(1, 0), window: testFirst}
	p.tuner.start(p.now)
	return p
}

// run lets an application take as fast as it can for a time.
func (p *path) run(d time.Duration, mixed bool) (taken float64) {
	for end := p.now.Add(d); p.now.Before(end); {
		piece := float64(p.window / 4)
		rate := min(p.bandwidth, float64(p.window)/p.rtt.Seconds())
		p.now = p.now.Add(time.Duration(piece / rate * float64(time.Second)))
		taken += piece
		e := epoch{p.rtt, testFirst, slack}
		if mixed {
			e.floor, e.slack = mixedFloor, mixedSlack
		}
		p.window = p.tuner.note(p.now, int(piece), e, p.window, testMost)
	}
	return taken
}

func TestWindowGrowsToTheProduct(t *testing.T) {
	p := newPath(1<<30, 100*time.Millisecond)
	p.run(400*time.Millisecond, false)
	if p.window != testMost {
		t.Errorf("after four round trips of 100 ms at 1 GiB/s the window is %d, want %d", p.window, testMost)
	}
	// 1 GiB/s are 100 MiB a round trip, so 64 MiB are the limit: 640 MiB/s.
	if got := p.run(time.Second, false); got < 600*mib {
		t.Errorf("%.0f MiB in a second, want 640", got/mib)
	}
}

func TestWindowDoesNotGrowForNothing(t *testing.T) {
	for _, c := range []struct {
		what      string
		bandwidth float64
		rtt       time.Duration
		most      uint32
	}{
		{"a thin line", 12 * mib, 20 * time.Millisecond, testFirst},
		{"a slow reader far away", 100 << 10, 200 * time.Millisecond, testFirst},
		{"loopback", 1 << 30, 50 * time.Microsecond, 5 * mib / 2},
		{"a line of 1 Gbit/s, 40 ms", 120 * mib, 40 * time.Millisecond, 10 * mib},
	} {
		p := newPath(c.bandwidth, c.rtt)
		p.run(5*time.Second, false)
		if p.window > c.most || p.window < testFirst {
			t.Errorf("%s: the window is %d KiB, want between %d and %d", c.what, p.window>>10, testFirst>>10, c.most>>10)
		}
	}
}

func TestWindowNarrowsBesideSmallData(t *testing.T) {
	p := newPath(12*mib, 20*time.Millisecond)
	p.run(time.Second, false)
	p.run(time.Second, true)
	// Two products are 491520 bytes: one on the way, one standing.
	if p.window > 520_000 || p.window < 400_000 {
		t.Errorf("beside small data the window is %d, want about 491520", p.window)
	}
	if got := p.run(time.Second, true); got < 11.5*mib {
		t.Errorf("%.1f MiB in a second, want the line's 12", got/mib)
	}
	p.run(time.Second, false)
	if p.window != testFirst {
		t.Errorf("when small data has ended the window is %d, want %d", p.window, testFirst)
	}
}

func TestWindowNarrowsWhenIdle(t *testing.T) {
	p := newPath(1<<30, 100*time.Millisecond)
	p.run(time.Second, false)
	p.bandwidth = 1 << 20
	p.run(time.Minute, false)
	if p.window != testFirst {
		t.Errorf("a minute at 1 MiB/s later the window is %d, want %d", p.window, testFirst)
	}
}

func TestWindowStaysWithoutRoundTrip(t *testing.T) {
	p := newPath(1<<30, 100*time.Millisecond)
	for range 100 {
		p.now = p.now.Add(time.Second)
		if got := p.tuner.note(p.now, 1<<30, epoch{floor: testFirst}, testFirst, testMost); got != testFirst {
			t.Fatalf("without a known round trip the window became %d", got)
		}
	}
}

// What windows grow by is bounded for a connection and for the process, and
// comes back with the channel.
func TestWindowBudgets(t *testing.T) {
	m := &Mux{cfg: Config{Budget: 10 * mib, Window: testFirst, WindowMax: testMost}}
	before := processBorrowed.Load()
	if !m.borrow(8*mib) || m.borrow(4*mib) || !m.borrow(2*mib) {
		t.Error("of a budget of 10 MiB: 8 and 2 must be lent, and 4 between them not")
	}
	m.giveBack(10 * mib)
	processBorrowed.Add(processBudget - 1*mib)
	if m.borrow(2*mib) || !m.borrow(1*mib) {
		t.Error("with 1 MiB left for the process: 1 MiB must be lent, and 2 not")
	}
	m.giveBack(1 * mib)
	processBorrowed.Add(-(processBudget - 1*mib))
	if got := processBorrowed.Load(); got != before || m.borrowed != 0 {
		t.Errorf("all given back: the process has lent %d, want %d; the connection %d, want 0", got, before, m.borrowed)
	}
}
