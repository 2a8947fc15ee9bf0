//go:build unix

package sshconfig

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkOwner refuses a file that somebody else could have written: it says which
// commands are run.
func checkOwner(path string, st fs.FileInfo) error {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 && int(sys.Uid) != os.Getuid() {
		return withHint{fmt.Errorf("%s belongs to user %d, so it is not used", path, sys.Uid), "chown $USER " + path}
	}
	if mode := st.Mode().Perm(); mode&0o022 != 0 {
		return withHint{fmt.Errorf("%s has mode %04o: others can write it, so it is not used", path, mode), "chmod go-w " + path}
	}
	return nil
}
