package unixsock

import "golang.org/x/sys/unix"

// peerPID is 0 when the system does not say.
func peerPID(fd int) int {
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		return 0
	}
	return pid
}
