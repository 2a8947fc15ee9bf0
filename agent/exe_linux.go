package agent

import (
	"os"
	"strconv"
)

// exeOf is the program that a process runs, "" when the system does not say. It is
// a hint: who connects may run another by the time that we look.
func exeOf(pid int) string {
	if pid <= 0 {
		return ""
	}
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return ""
	}
	return exe
}
