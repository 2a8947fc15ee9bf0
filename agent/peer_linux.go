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
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = os.NewSyscallError("getsockopt(SO_PEERCRED)", cerr)
	}
	if err != nil {
		return peer, err
	}
	return Peer{PID: int(cred.Pid), UID: int(cred.Uid)}, nil
}
