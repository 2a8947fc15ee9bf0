package session

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/term"
)

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Terminal is the person's terminal.
type Terminal struct {
	in, out *os.File

	mu    sync.Mutex
	saved *cooked // what it was, while raw; guarded by mu
	over  bool    // guarded by mu
}

// NewTerminal returns the terminal of standard input and output. Where one file is
// both ways of a terminal, out is not looked at.
func NewTerminal(in, out *os.File) *Terminal { return &Terminal{in: in, out: out} }

// errOver is Raw after End.
var errOver = errors.New("the session has ended")

// Raw passes on what is typed as it is typed, ^C included, and shows what comes as
// it comes, until Restore. It does nothing twice, and fails after End.
func (t *Terminal) Raw() (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over:
		return errOver
	case t.saved == nil:
		t.saved, err = t.makeRaw()
	}
	return err
}

// Restore makes the terminal what it was before Raw. It does nothing twice, and
// nothing without Raw.
func (t *Terminal) Restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved != nil {
		t.makeCooked(t.saved) // in vain if the terminal has gone
		t.saved = nil
	}
}

// End is Restore for good.
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
