//go:build unix

package forward

import (
	"os"
	"syscall"
)

// shutdownFile ends the sending direction of f if it is a socket. That it is
// none is no error.
func shutdownFile(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	}
}
