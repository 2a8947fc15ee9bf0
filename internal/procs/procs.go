// Package procs decides how many processors the process's goroutines run on at
// once: one, as long as one flow of data is all there is to do, and Go's default
// while several flows are under way.
//
// A goroutine that moves one stream keeps one processor busy. With a second one,
// a thread waits in epoll_wait for something to do, and each segment that comes in
// for the busy goroutine wakes it in vain: eight times as many context switches,
// and a tenth of the CPU of an upload. Several flows gain by several processors:
// a small one does not wait while a large one is encrypted.
package procs

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// look is how long changes from one flow to another are counted, and several
	// how many in that time say that flows share the process.
	look    = 50 * time.Millisecond
	several = 4
	// calm is how many looks without several changes end that.
	calm = 20
)

// process is the one governor that acts.
var process = governor{one: func() { runtime.GOMAXPROCS(1) }, all: runtime.SetDefaultGOMAXPROCS}

// Govern begins to decide for this process; a program calls it, no library. It
// does nothing if the environment's GOMAXPROCS says how many processors it shall
// be.
func Govern() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > 1 {
		process.start()
	}
}

// Flow is one stream of data, in both directions. Its zero value is none; NewFlow
// makes them.
type Flow uint64

var flows atomic.Uint64

// NewFlow returns a flow that is like no other in this process.
func NewFlow() Flow { return Flow(flows.Add(1)) }

// Moved says that data of f is being moved. It is called for each piece, and
// takes a nanosecond as long as f is the same as last time.
func (f Flow) Moved() {
	if process.on.Load() && process.last.Load() != uint64(f) {
		process.changed(f)
	}
}

// governor counts changes between flows.
type governor struct {
	one, all func()
	on       atomic.Bool
	last     atomic.Uint64 // the Flow that moved last
	changes  atomic.Int32  // since the last look
	looking  atomic.Bool   // the timer runs

	shared atomic.Bool // on all processors
	timer  *time.Timer

	mu    sync.Mutex
	quiet int // looks without several changes; guarded by mu
}

// start begins with all processors: to give them up costs a quarter of a
// millisecond, which a short run need not spend. They are given up after the first
// look at data that moves.
func (g *governor) start() {
	g.shared.Store(true)
	g.quiet = calm - 1
	g.timer = time.AfterFunc(look, g.look)
	g.timer.Stop()
	g.on.Store(true)
}

func (g *governor) changed(f Flow) {
	g.last.Store(uint64(f))
	switch n := g.changes.Add(1); {
	case n == several && !g.shared.Load():
		g.timer.Reset(0) // there is no need to wait for the rest of the time
	case !g.looking.Swap(true):
		g.timer.Reset(look)
	}
}

// look counts what was changed since it was called last. It is not called again
// once nothing is shared: then the next change begins anew.
func (g *governor) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch n := g.changes.Swap(0); {
	case n >= several && !g.shared.Load():
		g.shared.Store(true)
		g.all()
		fallthrough
	case n >= several:
		g.quiet = 0
	case g.shared.Load():
		if g.quiet++; g.quiet == calm {
			g.shared.Store(false)
			g.one()
		}
	}
	if g.shared.Load() {
		g.looking.Store(true)
		g.timer.Reset(look)
	} else {
		g.looking.Store(false)
	}
}
