//go:build unix

package forward

import (
	"errors"
	"syscall"
)

// isAbsent tells whether an address can't be listened on because this machine
// has no such address, or nothing of its family.
func isAbsent(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EPROTONOSUPPORT)
}

// isBusy tells whether somebody else has the port.
func isBusy(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
