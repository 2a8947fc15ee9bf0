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
