package ssmsession

import "time"

// Sizes of the window, in bytes of payload.
const (
	windowFirst = 64 << 10
	windowLeast = 16 << 10
	windowMost  = 4 << 20
)

// window is how many bytes may be on their way. The protocol has none: a sender
// that bounds nothing overruns the gateway. It grows as TCP's does (RFC 5681):
// by what was acknowledged until the first loss, then by a chunk per window.
type window struct {
	size      int
	threshold int       // above it growth is slow
	halved    time.Time // when it last shrank
}

func newWindow() window { return window{size: windowFirst, threshold: windowMost} }

// acked grows it. full says that it was what held the sender back.
func (w *window) acked(n, chunk int, full bool) {
	if !full {
		return
	}
	if w.size >= w.threshold {
		n = max(1, n*chunk/w.size)
	}
	w.size = min(windowMost, w.size+n)
}

// shrink halves it, once in a round trip: what is lost together is lost for one
// reason.
func (w *window) shrink(now time.Time, trip time.Duration) {
	if !w.halved.IsZero() && now.Sub(w.halved) < trip {
		return
	}
	w.halved = now
	w.size = max(windowLeast, w.size/2)
	w.threshold = w.size
}
