package unixsock

import (
	"io/fs"
	"net"
)

// bind listens on a new socket. Windows has no permissions for it but the
// folder's.
func bind(path string, _ fs.FileMode) (*net.UnixListener, error) {
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}
