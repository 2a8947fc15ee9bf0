//go:build unix && !solaris && !aix

package trace

import (
	"errors"
	"os"
	"syscall"
)

// lock locks a file until it is closed, or reports that it is locked. A file system
// without locks is no hindrance.
func lock(f *os.File) bool {
	return !errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
