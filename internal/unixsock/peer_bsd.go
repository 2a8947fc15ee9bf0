//go:build darwin || freebsd

package unixsock

import (
	"os"

	"golang.org/x/sys/unix"
)

func peer(fd int) (pid, uid int, err error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, -1, os.NewSyscallError("getsockopt(LOCAL_PEERCRED)", err)
	}
	return peerPID(fd), int(cred.Uid), nil
}
