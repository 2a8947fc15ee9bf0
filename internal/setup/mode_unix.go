//go:build unix

package setup

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// tooOpen refuses a private key of ours that others can read, as OpenSSH does
// (authfile.c, sshkey_perm_ok); its first words are OpenSSH's.
func tooOpen(path string, st fs.FileInfo) error {
	owner, ok := st.Sys().(*syscall.Stat_t)
	if mode := st.Mode().Perm(); mode&0o077 != 0 && (!ok || int(owner.Uid) == os.Getuid()) {
		return fmt.Errorf("WARNING: UNPROTECTED PRIVATE KEY FILE! Permissions %04o for '%s' are too open: others can read it. This private key will be ignored; run: chmod 600 %s", mode, path, path)
	}
	return nil
}
