package dial

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
)

// shellCommand runs the program without a shell, as Windows' OpenSSH does: the
// line is handed over as it is. shell is not used.
func shellCommand(_, line string) (*exec.Cmd, error) {
	program, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if rest, quoted := strings.CutPrefix(strings.TrimSpace(line), `"`); quoted {
		program, _, _ = strings.Cut(rest, `"`)
	}
	if program == "" {
		return nil, errors.New("it is empty")
	}
	cmd := exec.Command(program)
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: line}
	return cmd, nil
}
