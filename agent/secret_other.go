//go:build unix && !linux

package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

func noDump([]byte) {}

// Harden keeps the process' memory from others: no core dumps. It is for a process
// that holds keys and does nothing else. An error says what is missing; going on
// is possible.
func Harden() error {
	return os.NewSyscallError("setrlimit(RLIMIT_CORE)", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
}
