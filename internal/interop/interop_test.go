package interop

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/trace"
)

// Our side asks for new keys after rekeyAt bytes one way, and every transfer is
// long enough for that to fall into its middle.
const rekeyAt = 5 << 20

// size is how much goes each way, in bytes.
func size() int64 {
	if testing.Short() {
		return 6 << 20
	}
	return 32 << 20
}

// halfCloseSize is how much an echo sends before its EOF, in bytes.
const halfCloseSize = 1 << 20

// limit ends a step, as a login or a transfer, with a peer that hangs. A busy machine
// needs a good part of it: dbclient and asyncssh want compression, which takes long
// with the race detector.
const limit = 2 * time.Minute

func withLimit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// recorder keeps what our side reports.
type recorder struct {
	mu       sync.Mutex
	changed  chan struct{} // guarded by mu; closed and replaced with each event
	kexes    int           // guarded by mu; key exchanges but a connection's first
	attempts []string      // guarded by mu; login requests and what became of them
	refused  []trace.ChannelRefused
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (*recorder) Level() trace.Level { return trace.LevelChannel }

func (r *recorder) Trace(_ time.Time, e trace.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := e.(type) {
	case trace.KexDone:
		if e.First {
			return
		}
		r.kexes++
	case trace.AuthAttempt:
		line := e.Method + " " + e.Result
		if e.Probe {
			line = "probe " + line
		}
		r.attempts = append(r.attempts, line)
	case trace.ChannelRefused:
		r.refused = append(r.refused, e)
	default:
		return
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) rekeys() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kexes
}

// login is the login's attempts on one line.
func (r *recorder) login() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.attempts, ", ")
}

// wait waits until done, which runs under r.mu, is true. It reports false when
// ctx ended before.
func (r *recorder) wait(ctx context.Context, done func() bool) bool {
	for {
		r.mu.Lock()
		ok, changed := done(), r.changed
		r.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// opener gives streams to a target, one at a time.
type opener func(ctx context.Context, use func(testpeer.Stream) error) error

// moving puts off the limit whenever data moves.
type moving struct {
	io.ReadWriter
	limit *time.Timer
}

func (m moving) Read(p []byte) (n int, err error) {
	if n, err = m.ReadWriter.Read(p); n > 0 {
		m.limit.Reset(limit)
	}
	return n, err
}

func (m moving) Write(p []byte) (n int, err error) {
	if n, err = m.ReadWriter.Write(p); n > 0 {
		m.limit.Reset(limit)
	}
	return n, err
}

// move sends size() bytes to a HashTarget, or gets as many, and fails unless our
// side exchanged keys meanwhile about as often as it must.
func move(t *testing.T, r *recorder, way string, open opener, transfer func(io.ReadWriter, int64) error) {
	t.Helper()
	// A rekey lets pass what is on its way, so there are fewer than size/rekeyAt.
	least := max(1, int(size()/rekeyAt/2))
	before := r.rekeys()
	// A slow machine may take longer than the limit as long as data moves.
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stalled := time.AfterFunc(limit, func() { cancel(fmt.Errorf("nothing for %v", limit)) })
	defer stalled.Stop()
	err := open(ctx, func(s testpeer.Stream) error {
		if err := transfer(moving{s, stalled}, size()); err != nil {
			return err
		}
		stalled.Reset(limit)
		// The last bytes may have been on their way before our KEXINIT was.
		if !r.wait(ctx, func() bool { return r.kexes-before >= least }) {
			t.Errorf("%s: %d key exchanges, want at least %d", way, r.rekeys()-before, least)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s of %d bytes: %v", way, size(), err)
	}
}
