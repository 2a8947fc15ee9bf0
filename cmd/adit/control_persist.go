//go:build unix

package main

import (
	"context"
	"fmt"

	"github.com/adit-ssh/adit/internal/control"
	"github.com/adit-ssh/adit/sshconfig"
)

// With ControlPersist the connection outlives the command line that made it. The
// second program of -f connects, in front of the person, becomes the master and
// goes into the background; then the first one is its first client:
//
//	adit ssh HOST COMMAND  --starts-->  the same, with backgroundEnv
//	     |  waits                       |  connects, logs in, forwards, listens
//	     |  <-- a byte -----------------+  leaves the terminal's session
//	     a client of the master            is the master until nobody needs it
//
// Where that one does not become a master, since there is one already, it does all
// that the first was to do, and its exit status is the first one's.

// persist starts the program that becomes the master, and is its client then.
func (a *sshArgs) persist(ctx context.Context, conf *sshconfig.Config) error {
	up, err := startBackground(ctx)
	if err != nil || !up || a.noCommand && a.stdio == nil {
		return err
	}
	c, err := control.Dial(ctx, controlPath(conf))
	if err != nil {
		return fmt.Errorf("the new master: %w", err)
	}
	defer c.Close()
	a.forwards = nil // the master has them
	done, err := a.runShared(ctx, conf, c, nil)
	if err == nil && !done {
		err = exitError(255)
	}
	return err
}
