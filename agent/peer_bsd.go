//go:build darwin || freebsd

package agent

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerOf asks the system who is at the other end of a unix socket.
func peerOf(nc net.Conn) (Peer, error) {
	peer := Peer{UID: -1}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return peer, nil
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return peer, err
	}
	var cred *unix.Xucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED) })
	if err == nil {
		err = os.NewSyscallError("getsockopt(LOCAL_PEERCRED)", cerr)
	}
	if err != nil {
		return peer, err
	}
	return Peer{UID: int(cred.Uid)}, nil
}
