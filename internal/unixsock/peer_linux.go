package unixsock

import (
	"os"

	"golang.org/x/sys/unix"
)

func peer(fd int) (pid, uid int, err error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, -1, os.NewSyscallError("getsockopt(SO_PEERCRED)", err)
	}
	return int(cred.Pid), int(cred.Uid), nil
}
