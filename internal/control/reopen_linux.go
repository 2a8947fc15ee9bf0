package control

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// reopen opens what a descriptor of ours leads to once more, without waiting at
// reads and writes; nil where that can't be.
func reopen(fd, flag int) *os.File {
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	again, err := unix.Open(name, flag|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(again), name)
}
