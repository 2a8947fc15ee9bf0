//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package main

// hideTyping leaves it to term.ReadPassword.
func hideTyping(int) error { return nil }
