package mux

import "time"

// pacer bounds what a channel has on its way to the peer while other channels
// exchange small data, for which a queue is a delay. A sender that is faster
// than the peer's application, as we are beside sshd, otherwise fills the peer's
// whole window, and small data waits behind all of it.
//
// The peer's CHANNEL_WINDOW_ADJUSTs tell at what rate it takes data; a tuner
// turns that into a bound as it does for our own windows. What is on its way is
// the peer's full window less what is left of it. How wide its full window is
// nobody tells: it is the most that was ever left, until the peer grants nothing
// for a while. Then either it is slow, and nothing depends on us, or it narrowed
// its window, as adit does, and what is left is all there is.
type pacer struct {
	tuner tuner
	full  uint32 // the peer's window, bytes
	ahead uint32 // how much may be on its way, bytes; 0: not known yet
	grain uint32 // what the peer takes at least before it grants as much, bytes
}

const (
	// paceSlack is the time that the peer may take to notice and to answer. It
	// is shorter than slack, for here it is all delay.
	paceSlack = 50 * time.Microsecond
	// paceGrain is what sshd takes before it grants more, in bytes: three packets of
	// 32 KiB. Twice that is the least that may be on its way there. adit takes
	// pacedStep, and thrice that is. Others take half their window, which must be on
	// its way beside the rest.
	paceGrain = 96 << 10
	// paceHold is how long, beside two round trips, a peer may grant nothing
	// before its window is taken to be what is left of it.
	paceHold = 5 * time.Millisecond
)

// granted notes that the peer granted n bytes, of which with those before left
// are left.
func (p *pacer) granted(now time.Time, n, left uint32, rtt, slack time.Duration) {
	p.full = max(p.full, left)
	if p.tuner.since.IsZero() {
		p.tuner.start(now)
	}
	if p.ahead == 0 {
		p.ahead = p.full
	}
	if p.grain == 0 || n < p.grain {
		p.grain = n
	}
	p.grain += min(n-p.grain, p.grain/8+1) // what was once small may not be so now
	p.ahead = p.tuner.note(now, int(n), epoch{rtt, 3 * min(p.grain, paceGrain*2/3), slack}, p.ahead, p.full)
}

// room returns how much of what is left of the peer's window may be sent.
func (p *pacer) room(left uint32) uint32 {
	p.full = max(p.full, left)
	if p.ahead == 0 {
		return left
	}
	onWay, most := uint64(p.full-left), uint64(p.ahead)+uint64(max(p.grain, paceGrain)-paceGrain)
	return uint32(min(uint64(left), most-min(most, onWay)))
}

// held says that the peer granted nothing while it should have.
func (p *pacer) held(left uint32) { p.full = left }

// roomLocked returns how many bytes may be sent now.
func (c *Channel) roomLocked() uint32 {
	if !c.m.mixed() && !c.yieldsLocked(&c.pace.tuner) {
		c.pace.full = max(c.pace.full, c.outLeft)
		return c.outLeft
	}
	return c.pace.room(c.outLeft)
}

// yieldsLocked reports whether bulk on this channel, one way, leaves room for small data
// that may come: others have had such, and on a way that is not wide theirs would
// stand behind a queue until we know of it.
func (c *Channel) yieldsLocked(t *tuner) bool {
	return c.accompaniedLocked() && t.bulk(time.Now()) && t.rate*yieldSlack.Seconds() < DefaultWindow
}

// accompaniedLocked reports whether other channels have had small data.
func (c *Channel) accompaniedLocked() bool {
	others := c.m.talks.Load()
	if c.talks {
		others--
	}
	return others > 0
}

// waitRoom waits until something may be sent, and returns how much, or until end,
// when it returns the timeout. The caller holds writeMu.
func (c *Channel) waitRoom(end <-chan struct{}) (int, error) {
	for {
		c.mu.Lock()
		err, room, left := c.writeErrLocked(), c.roomLocked(), c.outLeft
		c.mu.Unlock()
		if err != nil || room > 0 {
			return int(min(room, 1<<30)), err
		}
		var hold <-chan time.Time
		if left > 0 {
			hold = c.startHold()
		}
		select {
		case <-c.wr:
		case <-c.ended:
		case <-end:
			return 0, c.timeout()
		case <-hold:
			c.mu.Lock()
			c.pace.held(c.outLeft)
			c.mu.Unlock()
		}
		if hold != nil {
			c.hold.Stop()
		}
	}
}

// startHold starts the time that the peer has to grant more.
func (c *Channel) startHold() <-chan time.Time {
	d := 2*c.m.pc.RTT() + paceHold
	if c.hold == nil {
		c.hold = time.NewTimer(d)
	} else {
		c.hold.Reset(d)
	}
	return c.hold.C
}
