//go:build unix && !linux && !darwin && !freebsd

package control

import (
	"net"
	"os"
)

// peerUID relies on the socket's mode where credentials can't be asked for.
func peerUID(*net.UnixConn) (uint32, error) { return uint32(os.Getuid()), nil }
