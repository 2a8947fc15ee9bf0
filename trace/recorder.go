package trace

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Record is one event and when it happened.
type Record struct {
	Time  time.Time
	Event Event
}

// Recorder is a Tracer that keeps the last events, for tests and for programs
// that show them later. It is safe for concurrent use.
type Recorder struct {
	// Immutable.
	level Level
	limit int

	mu      sync.Mutex
	records []Record      // guarded by mu; a ring once it is full
	total   uint64        // guarded by mu; events so far: record n lies at n mod limit
	change  chan struct{} // guarded by mu; closed at the next event, nil until somebody may wait
}

// NewRecorder returns a Recorder of level that keeps the last limit events, one
// at least.
func NewRecorder(level Level, limit int) *Recorder {
	return &Recorder{level: level, limit: max(1, limit)}
}

// Level implements Tracer.
func (r *Recorder) Level() Level { return r.level }

// Trace implements Tracer.
func (r *Recorder) Trace(t time.Time, e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) < r.limit {
		r.records = append(r.records, Record{t, e})
	} else {
		r.records[r.total%uint64(r.limit)] = Record{t, e}
	}
	r.total++
	if r.change != nil {
		close(r.change)
		r.change = nil
	}
}

// Records returns what is kept, oldest first.
func (r *Recorder) Records() []Record {
	records, _, _ := r.since(0)
	return records
}

// Total returns how many events there were, with those that are not kept any
// more.
func (r *Recorder) Total() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// Wait calls enough for each event, those that are kept first, then those that
// come, until it returns true or ctx is done. It calls without holding a lock,
// from its caller's goroutine. When events come faster than enough looks at
// them, those that are not kept any more are left out.
func (r *Recorder) Wait(ctx context.Context, enough func(Event) bool) error {
	for next := uint64(0); ; {
		records, total, change := r.since(next)
		for _, rec := range records {
			if enough(rec.Event) {
				return nil
			}
		}
		next = total
		select {
		case <-change:
		case <-ctx.Done():
			return fmt.Errorf("the event did not come, after %d others: %w", total, context.Cause(ctx))
		}
	}
}

// since returns the records from number n on, as far as they are kept, the
// number of the next one, and what is closed when that comes.
func (r *Recorder) since(n uint64) (records []Record, total uint64, change <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n = max(n, r.total-uint64(len(r.records)))
	for ; n < r.total; n++ {
		records = append(records, r.records[n%uint64(r.limit)])
	}
	if r.change == nil {
		r.change = make(chan struct{})
	}
	return records, r.total, r.change
}
