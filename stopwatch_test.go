package adit

import (
	"testing"
	"testing/synctest"
	"time"
)

// What was used of the time before a question is gone, and the rest runs on
// behind it.
func TestStopwatchRunsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, w := startWatch(t.Context(), 10*time.Second)
		defer w.end()
		<-time.After(4 * time.Second)
		resume := w.pause()
		<-time.After(time.Hour)
		if ctx.Err() != nil {
			t.Fatal("it ran while it stood still")
		}
		resume()
		<-ctx.Done()
		if took := time.Since(began); took != time.Hour+10*time.Second {
			t.Errorf("ended after %v, want 6 s after the question", took)
		}
	})
}

// A connection that is the way to another stops that one's watch too.
func TestStopwatchStopsOuter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		target, outer := startWatch(t.Context(), 10*time.Second)
		defer outer.end()
		jump, inner := startWatch(target, 0)
		<-time.After(4 * time.Second)
		resume := inner.pause()
		<-time.After(time.Hour)
		resume()
		inner.end() // the jump host's handshake is done: the target's time goes on
		if jump.Err() == nil || target.Err() != nil {
			t.Fatalf("jump host: %v, target: %v; want only the first to have ended", jump.Err(), target.Err())
		}
		<-time.After(time.Second)
		resume = inner.pause() // the login there
		<-time.After(time.Hour)
		resume()
		<-target.Done()
		if took := time.Since(began); took != 2*time.Hour+10*time.Second {
			t.Errorf("ended after %v, want 6 s of running besides both questions", took)
		}
	})
}
