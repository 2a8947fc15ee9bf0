package ssm

import (
	"io"
	"time"
)

// AWS's agent sends a message of a KiB each 1.1 ms. To be woken for each, and to
// wake others, takes far more CPU than all that is done with it. So amid a steady
// flow we let a few gather before we read. What comes now and then is read at once,
// and so is what comes so fast that it gathers by itself.
const (
	gatherFor   = 4 * time.Millisecond
	gatherSpan  = 64 * time.Millisecond // over which the flow is measured
	gatherLeast = 24 << 10              // bytes in it: 0.4 MB/s
	gatherMost  = 256 << 10             // 4 MB/s
)

// gatherer reads from a connection, seldom.
type gatherer struct {
	from io.Reader
	flow flow
}

// Read implements io.Reader. It may wait for gatherFor, whatever becomes of the
// connection.
func (g *gatherer) Read(p []byte) (int, error) {
	if g.flow.steady(time.Now()) {
		time.Sleep(gatherFor)
	}
	n, err := g.from.Read(p)
	g.flow.note(n, time.Now())
	return n, err
}

// flow is how many bytes came in the span before this one.
type flow struct {
	began     time.Time // this span
	now, last int
}

func (f *flow) turn(at time.Time) {
	switch past := at.Sub(f.began); {
	case past < gatherSpan:
	case past < 2*gatherSpan:
		f.began, f.last, f.now = f.began.Add(gatherSpan), f.now, 0
	default:
		f.began, f.last, f.now = at, 0, 0
	}
}

func (f *flow) note(n int, at time.Time) {
	f.turn(at)
	f.now += n
}

func (f *flow) steady(at time.Time) bool {
	f.turn(at)
	return f.last >= gatherLeast && f.last <= gatherMost && f.now <= gatherMost
}
