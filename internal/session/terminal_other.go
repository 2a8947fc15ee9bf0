//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package session

import (
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/adit-ssh/adit/internal/wire"
)

// cooked is a terminal that is not raw.
type cooked struct {
	state *term.State
	undo  func() // of showSequences
}

func (t *Terminal) makeRaw() (*cooked, error) {
	state, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return nil, err
	}
	return &cooked{state, showSequences(t.out)}, nil
}

func (t *Terminal) makeCooked(c *cooked) {
	c.undo()
	term.Restore(int(t.in.Fd()), c.state)
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

// Leave does nothing, either.
func (t *Terminal) Leave(before func()) bool { return false }
