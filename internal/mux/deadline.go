package mux

import (
	"sync"
	"time"
)

// deadline is a point in time as a channel: wait returns one that is closed when
// it has passed. Its zero value never passes.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{} // made on first use
	gen    int           // counts settings, so that a late timer does nothing
	final  bool          // closed for good
}

// wait returns the channel.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channelLocked()
}

func (d *deadline) channelLocked() chan struct{} {
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

// set moves the deadline; the zero time takes it away.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.final {
		return
	}
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.gen++
	c, gen := d.channelLocked(), d.gen
	if isClosed(c) {
		c = make(chan struct{})
		d.passed = c
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		close(c)
		return
	}
	d.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.gen == gen && !isClosed(c) {
			close(c)
		}
	})
}

// end lets the deadline pass for good.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.final = true
	d.gen++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if c := d.channelLocked(); !isClosed(c) {
		close(c)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
