package relay

import (
	"errors"
	"syscall"
)

// PeerGone reports whether err, from a read or a write, is the system's word for another
// end that has gone without a proper end: a connection that was reset, a pipe that nobody
// reads. It is not the sentinel of our own Close, nor a time limit's. errors.Is with
// syscall.ECONNRESET and EPIPE, which package syscall has on Windows too, is false there
// for all that Windows returns.
func PeerGone(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && errnos[errno] == Broken
}
