package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

func noDump(pages []byte) { unix.Madvise(pages, unix.MADV_DONTDUMP) }

// Harden keeps the process' memory from others: no core dumps, and no debugger of
// the same user's. It is for a process that holds keys and does nothing else. An
// error says what is missing; going on is possible.
func Harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return os.NewSyscallError("setrlimit(RLIMIT_CORE)", err)
	}
	return os.NewSyscallError("prctl(PR_SET_DUMPABLE)", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}
