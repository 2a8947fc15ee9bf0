package trace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// numbered returns the i-th of a row of events.
func numbered(i int) Event { return ChannelClosed{Local: uint32(i)} }

func numbers(records []Record) (got []uint32) {
	for _, r := range records {
		got = append(got, r.Event.(ChannelClosed).Local)
	}
	return got
}

func TestRecorderKeepsTheLast(t *testing.T) {
	for _, tt := range []struct {
		limit, events int
		want          []uint32
	}{
		{3, 0, nil},
		{3, 2, []uint32{0, 1}},
		{3, 3, []uint32{0, 1, 2}},
		{3, 4, []uint32{1, 2, 3}},
		{3, 100, []uint32{97, 98, 99}},
		{1, 5, []uint32{4}},
		{0, 5, []uint32{4}},
	} {
		r := NewRecorder(LevelChannel, tt.limit)
		began := time.Now()
		for i := range tt.events {
			r.Trace(began.Add(time.Duration(i)), numbered(i))
		}
		records := r.Records()
		if got := numbers(records); !slices.Equal(got, tt.want) || r.Total() != uint64(tt.events) {
			t.Errorf("limit %d, %d events: keeps %v of %d, want %v", tt.limit, tt.events, got, r.Total(), tt.want)
		}
		for _, rec := range records {
			if got, want := rec.Time.Sub(began), time.Duration(rec.Event.(ChannelClosed).Local); got != want {
				t.Errorf("limit %d: event %d has the time %d", tt.limit, want, got)
			}
		}
	}
}

func TestRecorderLevel(t *testing.T) {
	r := NewRecorder(LevelConn, 10)
	Emit(r, ChannelClosed{})
	Emit(r, Version{Local: "a"})
	if got := r.Records(); len(got) != 1 || got[0].Event != (Version{Local: "a"}) {
		t.Errorf("at LevelConn: got %v, want the version only", got)
	}
}

func TestRecorderWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder(LevelChannel, 4)
		for i := range 6 { // 0 and 1 are lost
			r.Trace(time.Now(), numbered(i))
		}
		var seen []uint32
		waited := make(chan error)
		go func() {
			waited <- r.Wait(t.Context(), func(e Event) bool {
				seen = append(seen, e.(ChannelClosed).Local)
				r.Total() // may call back
				return len(seen) == 6
			})
		}()
		synctest.Wait()
		for i := range 2 {
			select {
			case err := <-waited:
				t.Fatalf("ended after %v: %v", seen, err)
			default:
			}
			r.Trace(time.Now(), numbered(6+i))
			synctest.Wait()
		}
		if err := <-waited; err != nil || !slices.Equal(seen, []uint32{2, 3, 4, 5, 6, 7}) {
			t.Errorf("saw %v, %v, want 2 to 7, each once", seen, err)
		}

		why := errors.New("enough of it")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, why)
		defer cancel()
		if err := r.Wait(ctx, func(Event) bool { return false }); !errors.Is(err, why) {
			t.Errorf("got %v, want %v", err, why)
		}
	})
}

// The race detector watches; each writer's events must stay in order.
func TestRecorderConcurrency(t *testing.T) {
	const writers, each = 4, 500
	r := NewRecorder(LevelChannel, 100)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				r.Trace(time.Now(), ChannelClosed{Local: uint32(i), Type: fmt.Sprint(w)})
			}
		})
	}
	wg.Go(func() {
		if err := r.Wait(t.Context(), func(Event) bool { return r.Total() == writers*each }); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	records := r.Records()
	if len(records) != 100 || r.Total() != writers*each {
		t.Errorf("keeps %d of %d, want 100 of %d", len(records), r.Total(), writers*each)
	}
	last := map[string]uint32{}
	for _, rec := range records {
		e := rec.Event.(ChannelClosed)
		if n, ok := last[e.Type]; ok && e.Local != n+1 {
			t.Errorf("writer %s: event %d follows %d", e.Type, e.Local, n)
		}
		last[e.Type] = e.Local
	}
}
