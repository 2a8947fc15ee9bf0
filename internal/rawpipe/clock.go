package rawpipe

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Clock bounds a time, in which a person may be asked: then it stands still. Its
// zero value is for ever.
type Clock struct {
	limit time.Duration // immutable

	mu      sync.Mutex
	left    time.Duration      // guarded by mu; as of when it last started
	started time.Time          // guarded by mu
	timer   *time.Timer        // guarded by mu; nil while it stands still
	asking  int                // guarded by mu; how many questions are open
	end     context.CancelFunc // guarded by mu; what happens when the time is over; nil before Limit
}

// NewClock returns a clock that has not begun; 0 is for ever.
func NewClock(limit time.Duration) *Clock { return &Clock{limit: limit, left: limit} }

// Limit begins, and returns a context that ends when the time is over, with a
// cause that says so and is os.ErrDeadlineExceeded. It has no deadline, since what
// is dialled would run into that by itself a moment before, and not know the
// cause. It is called once; stop is to be called in the end.
func (c *Clock) Limit(ctx context.Context) (limited context.Context, stop func()) {
	limited, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = func() { cancel(fmt.Errorf("no answer within %v: %w", c.limit, os.ErrDeadlineExceeded)) }
	if c.asking == 0 {
		c.startLocked()
	}
	return limited, func() { c.Pause(); cancel(nil) }
}

func (c *Clock) startLocked() {
	if c.limit > 0 && c.end != nil {
		c.started, c.timer = time.Now(), time.AfterFunc(c.left, c.end)
	}
}

// Pause has the clock stand still until resume is called.
func (c *Clock) Pause() (resume func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asking++; c.timer != nil && c.timer.Stop() {
		c.left -= time.Since(c.started)
	}
	c.timer = nil
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.asking--; c.asking == 0 {
			c.startLocked()
		}
	}
}

// Limit is Clock.Limit for a time in which nobody is asked.
func Limit(ctx context.Context, d time.Duration) (limited context.Context, stop func()) {
	return NewClock(d).Limit(ctx)
}
