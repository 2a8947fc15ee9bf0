//go:build linux && race

package sockio

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Send is the other Send by calls that the race detector knows: what was done
// before a byte was sent happened before what is done once it has arrived. The
// descriptor must be non-blocking.
func Send(fd uintptr, bufs [][]byte) (int, error) { return each(syscall.Write, fd, bufs) }

// Recv is the other Recv, likewise.
func Recv(fd uintptr, bufs [][]byte) (int, error) { return each(syscall.Read, fd, bufs) }

func each(call func(int, []byte) (int, error), fd uintptr, bufs [][]byte) (total int, err error) {
	for i := 0; i < min(len(bufs), MaxBufs); {
		if len(bufs[i]) == 0 {
			i++
			continue
		}
		n, err := call(int(fd), bufs[i])
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil && total > 0:
			return total, nil // it will fail again next time
		case err != nil:
			return 0, unix.Errno(err.(syscall.Errno))
		}
		total += n
		if n < len(bufs[i]) {
			break
		}
		i++
	}
	return total, nil
}
