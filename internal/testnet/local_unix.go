//go:build !windows

package testnet

import (
	"net"
	"path/filepath"
	"testing"
)

// LocalPath returns a path for ListenLocal at which nobody listens: of a unix socket
// in a folder of the test's, on Windows of a named pipe.
func LocalPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "socket")
}

// ListenLocal listens on a path as agents do: at a unix socket, on Windows at a named
// pipe, which has no half-close.
func ListenLocal(path string) (net.Listener, error) { return net.Listen("unix", path) }
