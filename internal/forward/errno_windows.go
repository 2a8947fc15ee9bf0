package forward

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isAbsent tells whether an address can't be listened on because this machine
// has no such address, or nothing of its family.
func isAbsent(err error) bool {
	return errors.Is(err, windows.WSAEADDRNOTAVAIL) || errors.Is(err, windows.WSAEAFNOSUPPORT) || errors.Is(err, windows.WSAEPROTONOSUPPORT)
}

// isBusy tells whether somebody else has the port.
func isBusy(err error) bool { return errors.Is(err, windows.WSAEADDRINUSE) }
