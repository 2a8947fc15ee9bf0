//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package session

import (
	"os"

	"golang.org/x/sys/unix"
)

// AwaitInput returns when something can be read. A read that begins when the
// terminal is raw, and goes on when it no longer is, does not see Ctrl-D: Linux has
// it wait for a byte. macOS can't poll(2) terminals.
func AwaitInput(tty *os.File) {
	fd := int(tty.Fd())
	for {
		var set unix.FdSet
		set.Set(fd)
		if _, err := unix.Select(fd+1, &set, nil, nil, nil); err != unix.EINTR {
			return
		}
	}
}
