//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/control"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/sshconfig"
)

// sharedHop is a jump host whose configuration names a control socket that has a
// master: that connects, as for the ssh -W that OpenSSH starts for each jump host.
// Where there is none, it is nil: we log in ourselves. It does not become a master.
func sharedHop(ctx context.Context, conf *sshconfig.Config) (dial.Through, error) {
	path := controlPath(conf)
	if path == "" || conf.ControlMaster == "yes" || conf.ControlMaster == "ask" {
		return nil, nil
	}
	c, err := control.Dial(ctx, path)
	if _, none := errors.AsType[*control.ConnectError](err); none {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &sharedJump{c: c}, nil
}

// sharedJump connects through a master, once. It is a dial.Through.
type sharedJump struct{ c *control.Client }

// DialContext has the master connect to address.
func (j *sharedJump) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", portText, err)
	}
	ours, its, err := socketPair()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { j.c.Close() })
	_, err = j.c.Stdio(forward.Spec{Host: host, HostPort: uint16(port)}, its, its)
	its.Close()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	return ours, nil
}

// socketPair returns two ends of a connection, the second one to be passed on.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	first, second := os.NewFile(uintptr(fds[0]), "shared"), os.NewFile(uintptr(fds[1]), "passed")
	defer first.Close()
	c, err := net.FileConn(first)
	if err != nil {
		second.Close()
		return nil, nil, err
	}
	return c, second, nil
}

// Err returns nil: a master tells no more than the end of the connection itself.
func (j *sharedJump) Err() error { return nil }

// Close leaves the master, which ends the connection.
func (j *sharedJump) Close() error { return j.c.Close() }
