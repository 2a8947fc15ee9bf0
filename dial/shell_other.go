//go:build !windows

package dial

import (
	"cmp"
	"os"
	"os/exec"
)

// shellCommand has a shell, by default $SHELL or else /bin/sh, become the
// program.
func shellCommand(shell, line string) (*exec.Cmd, error) {
	return exec.Command(cmp.Or(shell, os.Getenv("SHELL"), "/bin/sh"), "-c", "exec "+line), nil
}
