//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package session

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/adit-ssh/adit/internal/wire"
)

// Terminal is the person's terminal.
type Terminal struct {
	in, out *os.File

	mu    sync.Mutex
	saved *term.State // while raw; guarded by mu
	over  bool        // guarded by mu
	undo  func()      // of showSequences; guarded by mu
}

// NewTerminal returns the terminal of standard input and output.
func NewTerminal(in, out *os.File) *Terminal { return &Terminal{in: in, out: out} }

// Raw passes on what is typed as it is typed, ^C included, and obeys what the
// server sends to draw, until Restore. It does nothing twice.
func (t *Terminal) Raw() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over:
		return errOver
	case t.saved != nil:
		return nil
	}
	saved, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return err
	}
	t.saved, t.undo = saved, showSequences(t.out)
	return nil
}

// errOver is Raw after End.
var errOver = errors.New("the session has ended")

// Restore makes the terminal what it was before Raw. It does nothing twice, and
// nothing without Raw.
func (t *Terminal) Restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved != nil {
		t.undo()
		term.Restore(int(t.in.Fd()), t.saved)
		t.saved = nil
	}
}

// End is Restore for good: Raw does nothing after it.
func (t *Terminal) End() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.Restore()
}

// IsRaw reports whether the terminal is raw.
func (t *Terminal) IsRaw() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.saved != nil
}

// Modes returns its modes for pty-req: the server's own.
func (t *Terminal) Modes() []byte { return NoModes() }

// Size returns its size; zeros if nobody knows.
func (t *Terminal) Size() wire.WindowChange {
	columns, rows, err := term.GetSize(int(t.out.Fd()))
	if err != nil {
		return wire.WindowChange{}
	}
	return wire.WindowChange{Columns: uint32(columns), Rows: uint32(rows)}
}

// sizeInterval is how often the size is looked at: nothing tells of a change.
const sizeInterval = 500 * time.Millisecond

// Resized tells when the size may have changed, until stop is called.
func (t *Terminal) Resized() (changed <-chan struct{}, stop func()) {
	out, done := make(chan struct{}, 1), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // ends with stop
		tick := time.NewTicker(sizeInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				select {
				case out <- struct{}{}:
				default:
				}
			case <-done:
				return
			}
		}
	})
	return out, func() {
		close(done)
		wg.Wait()
	}
}

// Suspend does nothing: processes are not stopped here.
func (t *Terminal) Suspend() {}
