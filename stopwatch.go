package adit

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// stopwatch bounds the time that the network takes (Config.ConnectTimeout). It
// stands still while CheckHostKey decides, since a person may be asked there, and
// so do those of the connections that lead through this one: a target's while its
// jump host asks.
type stopwatch struct {
	limit  time.Duration // 0 for none
	cancel context.CancelCauseFunc
	outer  *stopwatch // of the connection that this one is the way to; nil for none

	mu      sync.Mutex
	left    time.Duration // guarded by mu; as of when it last started
	started time.Time     // guarded by mu
	timer   *time.Timer   // guarded by mu; nil while it stands still
}

// startWatch returns a context that ends when the time has run out.
func startWatch(ctx context.Context, limit time.Duration) (context.Context, *stopwatch) {
	outer, _ := ctx.Value(stopwatchKey{}).(*stopwatch)
	ctx, cancel := context.WithCancelCause(ctx)
	w := &stopwatch{limit: limit, cancel: cancel, outer: outer, left: limit}
	w.run()
	return context.WithValue(ctx, stopwatchKey{}, w), w
}

// stopwatchKey is where a context has the stopwatch that bounds it.
type stopwatchKey struct{}

func (w *stopwatch) run() {
	if w.limit <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started = time.Now()
	w.timer = time.AfterFunc(w.left, func() { w.cancel(connectTimeout(w.limit)) })
}

// connectTimeout is the end of ConnectTimeout; errors.Is takes it for
// os.ErrDeadlineExceeded.
type connectTimeout time.Duration

func (e connectTimeout) Error() string {
	return fmt.Sprintf("not connected within %v", time.Duration(e))
}

func (e connectTimeout) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// pause stops the watch and those around it. It returns what lets them run on.
func (w *stopwatch) pause() (resume func()) {
	if w.outer == nil {
		return w.stop()
	}
	inner, outer := w.stop(), w.outer.pause()
	return func() { outer(); inner() }
}

// stop is pause for this watch alone.
func (w *stopwatch) stop() (resume func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil || !w.timer.Stop() {
		return func() {}
	}
	w.timer = nil
	w.left -= time.Since(w.started)
	return w.run
}

// end is for when the watch is not needed any more.
func (w *stopwatch) end() {
	w.stop()
	w.cancel(nil)
}

// unhurried is a CheckHostKey that w does not count.
func (w *stopwatch) unhurried(check func(host, algorithm string, key gossh.PublicKey) error) func(host, algorithm string, key gossh.PublicKey) error {
	return func(host, algorithm string, key gossh.PublicKey) error {
		defer w.pause()()
		return check(host, algorithm, key)
	}
}
