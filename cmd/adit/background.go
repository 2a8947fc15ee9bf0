package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/adit-ssh/adit/internal/session"
)

// -f goes into the background once all is up. A Go program can't fork, so the one
// that the person started never connects: it starts a second one, which does all,
// and which tells it when to end.
//
//	adit ssh -f …  --starts-->  the same, with backgroundEnv
//	     |  waits               |  connects, asks on /dev/tty, forwards, starts the command
//	     |  <-- a byte ---------+  leaves the terminal's session
//	     ends, 0                goes on
//
// If the second one ends before, the first ends with its status. If the first one
// ends before, so does the second.

// backgroundEnv tells the second program which descriptor leads to the first, and
// the first's process number, lest a program started by it believe the same.
const backgroundEnv = "ADIT_BACKGROUND"

// background is the second program's side. A nil one stays in the foreground.
type background struct {
	parent *os.File
	up     *atomic.Bool
	quiet  bool // nothing is said on standard error from then on
}

// leaveToBackground is all that the first program does.
func leaveToBackground(ctx context.Context) error {
	up, err := startBackground(ctx)
	if err == nil && !up {
		err = exitError(255)
	}
	return err
}

// detach goes into the background. The session, whose streams are std, keeps the
// standard output and error of the first program; all else goes nowhere. Without a
// session std is nil.
func (b *background) detach(std *session.Streams) error {
	if b == nil {
		return nil
	}
	if err := b.leave(std); err != nil {
		return fmt.Errorf("-f: go into the background: %w", err)
	}
	return nil
}
