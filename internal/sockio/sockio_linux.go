//go:build linux && !race

package sockio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Send sends what the socket fd takes now of bufs, and returns how many bytes
// that was. It fails with unix.EAGAIN where that is nothing, and with unix.EPIPE
// without a signal where nobody will read it.
func Send(fd uintptr, bufs [][]byte) (int, error) {
	return message(unix.SYS_SENDMSG, fd, bufs, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// Recv fills bufs with what the socket fd has now, and returns how many bytes
// that was, 0 at the end of the stream. It fails with unix.EAGAIN where there is
// nothing yet. bufs must have room for at least one byte.
func Recv(fd uintptr, bufs [][]byte) (int, error) {
	return message(unix.SYS_RECVMSG, fd, bufs, unix.MSG_DONTWAIT)
}

func message(trap, fd uintptr, bufs [][]byte, flags int) (int, error) {
	var vec [MaxBufs]unix.Iovec
	n := 0
	for _, b := range bufs[:min(len(bufs), MaxBufs)] {
		if len(b) > 0 {
			vec[n].Base = &b[0]
			vec[n].SetLen(len(b))
			n++
		}
	}
	hdr := unix.Msghdr{Iov: &vec[0]}
	hdr.SetIovlen(n)
	for {
		k, _, errno := unix.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&hdr)), uintptr(flags))
		switch errno {
		case 0:
			return int(k), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
