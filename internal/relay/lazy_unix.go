//go:build unix

package relay

import (
	"io"
	"os"
	"syscall"
)

// lazyReader returns a function that waits for src without a buffer, and then
// reads into one from the pool, which the caller gives back if it isn't nil. It
// works for sockets; others report false.
func lazyReader(src io.Reader) (func() (*[bufferSize]byte, int, error), bool) {
	if !isSocket(src) {
		return nil, false
	}
	raw, err := src.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, false
	}

	var (
		buf     *[bufferSize]byte
		n       int
		readErr error
	)
	try := func(fd uintptr) bool {
		buf = buffers.Get().(*[bufferSize]byte)
		for {
			n, readErr = syscall.Read(int(fd), buf[:])
			if readErr != syscall.EINTR {
				break
			}
		}
		if readErr == syscall.EAGAIN {
			buffers.Put(buf)
			buf = nil
			return false
		}
		return true
	}
	return func() (*[bufferSize]byte, int, error) {
		buf, n, readErr = nil, 0, nil
		if err := raw.Read(try); err != nil {
			return buf, 0, err // closed, or past its deadline
		}
		if readErr != nil {
			return buf, 0, os.NewSyscallError("read", readErr)
		}
		if n == 0 {
			return buf, 0, io.EOF
		}
		return buf, n, nil
	}, true
}
