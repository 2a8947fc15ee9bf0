package mux

import (
	"fmt"
	"time"
)

// IdleError is why a channel was closed that exchanged no data for too long.
type IdleError struct{ After time.Duration }

func (e *IdleError) Error() string {
	return fmt.Sprintf("channel closed: no data for %v (ChannelTimeout)", e.After)
}

// AllChannels is for what Config.IdleTimeout is asked once: all channels together.
const AllChannels = "global"

// idleLooks is how often within the time an idle channel is looked at: it is closed
// at the latest a part of so many too late.
const idleLooks = 8

// idleWatch closes what exchanges no data. The data path only counts bytes, as it
// does anyway.
type idleWatch struct {
	after  time.Duration
	timer  *time.Timer
	last   uint64                           // bytes at the last look
	quiet  int                              // looks since they changed
	moved  func() (bytes uint64, live bool) // live: there is something to watch
	expire func(*IdleError)
}

func (w *idleWatch) look() {
	n, live := w.moved()
	switch {
	case !live:
		return
	case n != w.last:
		w.last, w.quiet = n, 0
	default:
		if w.quiet++; w.quiet == idleLooks {
			w.quiet = 0
			w.expire(&IdleError{w.after})
		}
	}
	w.timer.Reset(w.after / idleLooks)
}

// watchIdleLocked begins to watch a channel that is open now.
func (c *Channel) watchIdleLocked() {
	if c.m.cfg.IdleTimeout == nil {
		return
	}
	after := c.m.cfg.IdleTimeout(c.typ)
	if after <= 0 {
		return
	}
	c.idle = &idleWatch{after: after, expire: c.expired, moved: func() (uint64, bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.bytesIn + c.bytesOut, c.state == stateOpen && !c.closed
	}}
	c.idle.timer = time.AfterFunc(after/idleLooks, c.idle.look)
}

// expired closes the channel for why.
func (c *Channel) expired(why *IdleError) {
	c.mu.Lock()
	if c.err == nil && !c.closed {
		c.err, c.expiry = why, why
	}
	c.mu.Unlock()
	c.Close()
}

// closedErrLocked is what operations on a closed channel get.
func (c *Channel) closedErrLocked() error {
	if c.expiry != nil {
		return c.expiry
	}
	return ErrClosed
}

// watchAllIdle watches all channels together; closing them one by one would not do,
// as each may be quiet while others are not.
func (m *Mux) watchAllIdle() {
	if m.cfg.IdleTimeout == nil {
		return
	}
	after := m.cfg.IdleTimeout(AllChannels)
	if after <= 0 {
		return
	}
	w := &idleWatch{after: after}
	m.idle = w
	w.moved = func() (n uint64, live bool) {
		for _, c := range m.openChannels() {
			c.mu.Lock()
			n += c.bytesIn + c.bytesOut + 1 // that it is there counts, too
			c.mu.Unlock()
		}
		return n, m.lifetime.Err() == nil
	}
	w.expire = func(why *IdleError) {
		for _, c := range m.openChannels() {
			c.expired(why)
		}
	}
	w.timer = time.AfterFunc(after/idleLooks, w.look)
}

func (m *Mux) openChannels() (all []*Channel) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.channels {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}
