//go:build unix && !solaris && !aix

package knownhosts

import (
	"errors"
	"os"
	"syscall"
)

// lock locks a file without waiting. A file system without locks is no error.
func lock(f *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return nil
}

// adopt gives a file the mode and, as far as that is allowed, the owner of
// another.
func adopt(f *os.File, like os.FileInfo) error {
	if st, ok := like.Sys().(*syscall.Stat_t); ok {
		f.Chown(int(st.Uid), int(st.Gid)) // root's own known_hosts would be of no use to others
	}
	return f.Chmod(like.Mode().Perm())
}
