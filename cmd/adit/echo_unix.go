//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import "golang.org/x/sys/unix"

// hideTyping stops the terminal from showing what is typed, and forgets what was
// typed before, as OpenSSH does before it asks (readpassphrase.c).
func hideTyping(fd int) error {
	t, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(fd, setTermiosFlushed, t)
}
