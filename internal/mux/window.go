package mux

import (
	"math"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// admitLocked accounts for n bytes that the peer sent, and reports whether they
// are to be kept: data that nobody reads any more is dropped, and its window
// returned.
func (c *Channel) admitLocked(n int, what string) (keep bool, err error) {
	switch {
	case c.state == stateOpening:
		return false, broken("%s for channel %d, which is not open yet", what, c.id)
	case c.gotClose || c.gotEOF:
		return false, broken("%s for channel %d after EOF or CLOSE", what, c.id)
	case uint64(n) > uint64(c.inLeft):
		return false, broken("%s of %d bytes for channel %d, whose window has %d left", what, n, c.id, c.inLeft)
	}
	// RFC 4254, section 5.2, limits a packet to what we announced. A larger one
	// within the window does no harm; OpenSSH lets it pass, too.
	if c.bytesIn == 0 {
		c.tuner.start(time.Now())
	}
	c.inLeft -= uint32(n)
	c.bytesIn += uint64(n)
	c.flow.Moved()
	if n > 0 && n < smallData {
		if now := time.Now(); !c.tuner.bulk(now) && !c.pace.tuner.bulk(now) {
			c.m.small(now)
			if !c.talks {
				c.talks = true
				c.m.talks.Add(1)
			}
		}
	}
	if c.discard {
		c.takenLocked(n)
		return false, nil
	}
	return n > 0, nil
}

// takenLocked says that the application has n bytes more. When that is a quarter
// of what the peer has been granted, or a step, as much is granted again, and up
// to growing times as much while the window widens. So the peer's credit grows
// step by step: sshd takes from its target what its credit allows, not what the
// way does, and its buffer copies itself whenever it grows.
func (c *Channel) takenLocked(n int) {
	if n == 0 {
		return
	}
	c.consumed += int64(n)
	c.untuned += n
	granted := int64(c.window) - c.consumed + int64(c.untuned)
	step := min(granted/4, maxStep)
	if c.m.cfg.PeerPaces && c.m.mixed() {
		step = min(step, pacedStep)
	}
	if int64(c.untuned) < step || c.gotEOF || c.gotClose || c.sentClose || c.state != stateOpen {
		return
	}
	fresh := c.untuned
	c.tuneLocked()
	c.untuned = 0
	add := uint32(max(0, min(c.consumed, growing*int64(fresh))))
	if add == 0 {
		return // it becomes narrower
	}
	c.consumed -= int64(add)
	c.inLeft += add
	m := wire.ChannelWindowAdjust{RecipientChannel: c.peerID, Bytes: add}
	if err := c.m.pc.QueuePacket(m.Append(c.adjust[:0])); err != nil && c.err == nil {
		c.err = err
	}
}

// tuneLocked sets the window to what the tuner wants. What was announced can't
// be taken back: a narrower window takes effect as data comes in.
func (c *Channel) tuneLocked() {
	first, widest := c.m.cfg.Window, c.m.cfg.WindowMax
	if c.discard || widest <= first {
		return
	}
	now, mixed := time.Now(), c.m.mixed()
	if mixed {
		c.m.pc.MeasureRTT()
	}
	e := epoch{c.m.pc.RTT(), first, slack}
	switch {
	case c.m.cfg.PeerPaces: // it does so for us
	case mixed:
		e.floor, e.slack = min(first, mixedFloor), mixedSlack
	case c.yieldsLocked(&c.tuner):
		e.floor, e.slack = min(first, mixedFloor), yieldSlack
	}
	want := c.tuner.note(now, c.untuned, e, c.window, widest)
	if c.m.cfg.PeerPaces && (mixed || c.accompaniedLocked()) {
		// It goes by our adjusts: each must tell all that was taken.
		want = max(want, c.window+uint32(max(0, int64(c.untuned)-c.consumed)))
	}
	switch beyond, old := int64(want)-int64(first), int64(c.borrowed); {
	case beyond > old && !c.m.borrow(beyond-old):
		return
	case beyond > old:
		c.borrowed = uint32(beyond)
	case old > 0:
		c.borrowed = uint32(max(beyond, 0))
		c.m.giveBack(old - int64(c.borrowed))
	}
	c.consumed += int64(want) - int64(c.window)
	c.window = want
}

// adjusted adds to what we may send.
func (c *Channel) adjusted(n uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == stateOpening:
		return broken("CHANNEL_WINDOW_ADJUST for channel %d, which is not open yet", c.id)
	case uint64(c.outLeft)+uint64(n) > math.MaxUint32:
		// RFC 4254, section 5.2: the window must not exceed 2^32-1.
		return broken("CHANNEL_WINDOW_ADJUST of %d for channel %d, whose window is %d", n, c.id, c.outLeft)
	}
	c.outLeft += n
	now, slack := time.Now(), yieldSlack
	if c.m.mixed() {
		c.m.pc.MeasureRTT()
		slack = paceSlack
	}
	c.pace.granted(now, n, c.outLeft, c.m.pc.RTT(), slack)
	wake(c.wr)
	return nil
}

// extended takes extended data: to stderr where somebody asked for it,
// otherwise it is dropped and its window returned.
func (c *Channel) extended(msg *wire.ChannelExtendedData) error {
	c.mu.Lock()
	keep, err := c.admitLocked(len(msg.Data), "CHANNEL_EXTENDED_DATA")
	switch {
	case err != nil || !keep:
	case c.hasErr && msg.DataType == wire.ExtendedDataStderr:
		c.stderr.push(msg.Data)
	default:
		c.takenLocked(len(msg.Data))
	}
	c.mu.Unlock()
	wake(c.rd)
	wake(c.errRd)
	return err
}

// peerEOF notes that no more data comes.
func (c *Channel) peerEOF() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gotClose {
		return broken("CHANNEL_EOF for channel %d after CLOSE", c.id)
	}
	c.gotEOF = true
	wake(c.rd)
	wake(c.errRd)
	return nil
}

// peerClose answers CLOSE with our own (RFC 4254, section 5.3), behind what is
// being sent.
func (c *Channel) peerClose() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gotClose {
		return broken("second CHANNEL_CLOSE for channel %d", c.id)
	}
	c.gotClose = true
	c.wantClose = true
	c.closeIfDueLocked()
	wake(c.rd)
	wake(c.errRd)
	wake(c.wr)
	return nil
}
