//go:build !unix

package main

import (
	"context"
	"errors"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/sshconfig"
)

// errNoSharing says what is so on Windows, for OpenSSH too: no descriptor can be
// passed over a socket there.
var errNoSharing = errors.New("connections can't be shared on this system: ControlMaster, -M and -O take a Unix system")

func (a *sshArgs) throughMaster(context.Context, *sshconfig.Config, *background) (bool, error) {
	if a.control != "" {
		return true, errNoSharing
	}
	return false, nil
}

func sharedHop(context.Context, *sshconfig.Config) (dial.Through, error) { return nil, nil }

type master struct{}

func (a *sshArgs) startMaster(_ *adit.Client, conf *sshconfig.Config, _ []*running) (*master, error) {
	if controlPath(conf) != "" && conf.ControlMaster != "no" {
		a.Notice("warning: " + errNoSharing.Error())
	}
	return nil, nil
}

func (*master) end(context.Context, *adit.Client)                             {}
func (*master) untilTerminated(ctx context.Context) (context.Context, func()) { return ctx, func() {} }
func (*master) unused(context.Context, time.Duration) <-chan struct{}         { return nil }
func (a *sshArgs) persistTime(*sshconfig.Config) (time.Duration, bool)        { return 0, false }
func (a *sshArgs) persist(context.Context, *sshconfig.Config) error           { return errNoSharing }
