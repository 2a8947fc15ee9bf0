package transport

import (
	"net"
	"syscall"
)

// socket writes sealed packets. Only the holder of the turn calls it.
type socket interface {
	// write writes runs and takes what was written off them. Without wait it
	// returns as soon as it would have to wait. all says that all was written,
	// stalled that it had to wait or would have had to.
	write(runs *[][]byte, wait bool) (all, stalled bool, err error)
}

// outConn is a connection that is not one socket, but whose Write goes to a
// descriptor as it is, and does not block there. OutConn returns that, or nil;
// a proxy command's pipe is one.
type outConn interface{ OutConn() syscall.Conn }

// connSocket is a socket on any net.Conn. It can't tell whether a write would
// wait, so it never writes without wait: the flusher does it all.
type connSocket struct{ nc net.Conn }

func (s connSocket) write(runs *[][]byte, wait bool) (all, stalled bool, err error) {
	if !wait {
		return false, true, nil
	}
	for _, r := range *runs {
		if _, err := s.nc.Write(r); err != nil {
			return false, true, err
		}
	}
	*runs = nil
	return true, true, nil
}
