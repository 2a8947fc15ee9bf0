package transport

import (
	"sync/atomic"
	"time"
)

// hurry knows whether somebody waits for small data, for whom each queue is a
// delay. While there is a hurry both halves give up what only bulk gains by.
type hurry struct {
	at atomic.Int64 // Unix ns; 0: never
}

// hurryTime is how long a hurry lasts.
const hurryTime = 100 * time.Millisecond

func (h *hurry) ever() bool { return h.at.Load() != 0 }

func (h *hurry) lately(now time.Time) bool { return now.UnixNano()-h.at.Load() < int64(hurryTime) }

// Hurry says that small data is being exchanged, for whose answer somebody may
// wait: for a tenth of a second bulk is read and written in smaller pieces.
func (c *Conn) Hurry() { c.hurry.at.Store(time.Now().UnixNano()) }
