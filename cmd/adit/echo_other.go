//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package main

import (
	"os"

	"golang.org/x/term"
)

// hideTyping leaves it to readHidden.
func hideTyping(*os.File) error { return nil }

// readHidden reads a line that is not shown.
func readHidden(tty *os.File) (string, error) {
	b, err := term.ReadPassword(int(tty.Fd()))
	return string(b), err
}
