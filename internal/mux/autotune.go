package mux

import "time"

// tuner decides how wide a receive window is. It is pure arithmetic.
//
// A window limits a peer to one window per round trip. What the application
// takes per second, times the round trip, is what must be on its way for the
// path to be full (the bandwidth-delay product). A window of a multiple of that
// lets the rate grow, if the window is what limits it, and otherwise stands in
// queues on the way: at the peer, in its kernel, in routers. So:
//
//   - while the rate grows, the window is growing × the product: 64 MiB are
//     reached from 2 MiB in three round trips;
//   - else it is settled × the product, and not less than it was at first;
//   - while other channels exchange small data, for which a queue is a delay,
//     it may become smaller than at first, too.
//
// Without a known round trip it stays as it is.
type tuner struct {
	since time.Time
	taken uint64
	rate  float64 // of the epoch before, bytes a second
}

// epoch is what a tuner is told of its circumstances.
type epoch struct {
	rtt   time.Duration
	floor uint32        // the least that a window may be, bytes
	slack time.Duration // that an endpoint may take to notice and to answer
}

const (
	// minEpoch keeps scheduling noise on short paths out of the arithmetic.
	minEpoch = 2 * time.Millisecond
	growing  = 4
	settled  = 2
	// grows is by which factor the rate must exceed that of the epoch before to
	// count as growing.
	grows = 1.5
	// slack is the usual epoch.slack, and mixedSlack the same while small data
	// is about.
	slack      = 2 * time.Millisecond
	mixedSlack = 500 * time.Microsecond
	// yieldSlack is the same while small data may come.
	yieldSlack = 10 * time.Millisecond
	// mixedFloor is the smallest window, in bytes.
	mixedFloor = 256 << 10
)

// start begins the first epoch: the first data has come.
func (t *tuner) start(now time.Time) { t.since = now }

// bulk reports whether much was taken lately.
func (t *tuner) bulk(now time.Time) bool {
	return t.rate >= bulkRate && now.Sub(t.since) < mixedTime
}

// note adds n bytes that the application took and returns the window that is
// wanted now, at most widest.
func (t *tuner) note(now time.Time, n int, e epoch, window, widest uint32) uint32 {
	t.taken += uint64(n)
	elapsed := now.Sub(t.since)
	if e.rtt <= 0 || elapsed < e.rtt || elapsed < minEpoch {
		return window
	}
	rate := float64(t.taken) / elapsed.Seconds()
	gain := float64(settled)
	if rate > grows*t.rate {
		gain = growing
	}
	t.since, t.taken, t.rate = now, 0, rate
	want := min(rate*(gain*e.rtt.Seconds()+e.slack.Seconds()), float64(widest))
	// A window shrinks by halves: one epoch without data says little.
	return uint32(max(want, float64(e.floor), float64(window)/2))
}
