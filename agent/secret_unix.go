//go:build unix

package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

// secret holds key material in memory of its own, which is not swapped out and not
// part of a core dump, where the system allows that; it is overwritten by wipe.
type secret struct{ pages []byte }

// newSecret copies b. Its content ends where b does.
func newSecret(b []byte) (*secret, []byte, error) {
	size := (len(b) + os.Getpagesize() - 1) &^ (os.Getpagesize() - 1)
	pages, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	unix.Mlock(pages) // RLIMIT_MEMLOCK may be small
	noDump(pages)
	copy(pages, b)
	return &secret{pages}, pages[:len(b):len(b)], nil
}

// wipe overwrites and frees it. Nobody may use it any more.
func (s *secret) wipe() {
	if s.pages != nil {
		clear(s.pages)
		unix.Munmap(s.pages)
		s.pages = nil
	}
}
