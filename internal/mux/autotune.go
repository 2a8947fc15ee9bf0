package mux

import "time"

// tuner decides when a receive window grows. It is pure arithmetic.
//
// A window limits a peer to one window per round trip. When the application
// consumes more than half a window in a round trip, the window is, or is about
// to be, what limits it, and doubles. On a path whose bandwidth-delay product is
// below half the window nothing grows, so no queue is built up on a thin link.
// Without a known round trip nothing grows either.
type tuner struct {
	since    time.Time
	consumed uint64
}

// minEpoch keeps scheduling noise on short paths out of the arithmetic.
const minEpoch = 2 * time.Millisecond

// note adds n consumed bytes and returns the window that is wanted now.
func (t *tuner) note(now time.Time, n int, rtt time.Duration, window, max uint32) uint32 {
	t.consumed += uint64(n)
	if t.since.IsZero() {
		t.since, t.consumed = now, 0
		return window
	}
	elapsed := now.Sub(t.since)
	if rtt <= 0 || elapsed < rtt || elapsed < minEpoch {
		return window
	}
	perTrip := float64(t.consumed) * float64(rtt) / float64(elapsed)
	t.since, t.consumed = now, 0
	if perTrip*2 < float64(window) || window >= max {
		return window
	}
	return min(max, window*2)
}
