//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// hideTyping stops the terminal from showing what is typed, and forgets what was
// typed before, as OpenSSH does before it asks (readpassphrase.c).
func hideTyping(tty *os.File) error {
	t, err := unix.IoctlGetTermios(int(tty.Fd()), getTermios)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(int(tty.Fd()), setTermiosFlushed, t)
}

// readHidden reads a line after hideTyping. It leaves the terminal alone, so
// that nothing changes it when the question was given up.
func readHidden(tty *os.File) (string, error) { return readLine(tty) }
