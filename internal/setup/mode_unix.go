//go:build unix

package setup

import (
	"fmt"
	"os"
)

// tooOpen refuses a private key that others can read, as OpenSSH does.
func tooOpen(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("identity file: %w", err)
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("identity file %s has mode %04o: others can read it, so it is not used; run: chmod 600 %s", path, mode, path)
	}
	return nil
}
