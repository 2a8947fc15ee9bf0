package forward

import (
	"io/fs"
	"net"
)

// bindPath listens on a new unix socket. Windows has no permissions for it but
// the folder's.
func bindPath(path string, _ fs.FileMode) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err == nil {
		l.(*net.UnixListener).SetUnlinkOnClose(false) // pathListener does it
	}
	return l, err
}
