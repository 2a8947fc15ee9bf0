// Package unixsock listens on unix sockets that only those can connect to who
// may, and tells who has connected. It knows nothing of what is spoken there.
//
// Listen makes a socket at a path, Take does so where a killed program may have
// left one behind, Adopt takes over what another process has made. PeerOf asks the
// system who is at the other end.
package unixsock

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
)

// Listener is a socket at a path, which Close removes.
type Listener struct {
	*net.UnixListener

	path    string
	file    fs.FileInfo // the socket, to remove no other
	closing sync.Once
}

// Listen listens on a new socket with exactly these permissions, whatever the
// umask. It is an error that wraps syscall.EADDRINUSE when there is something at
// the path.
//
// The mode is set between bind and listen, when nobody can connect yet: umask,
// which ssh-agent and ssh change for it, is that of the whole process. On Windows
// the folder's permissions decide.
func Listen(path string, mode fs.FileMode) (*Listener, error) {
	l, err := bind(Name(path), mode)
	if err != nil {
		return nil, err
	}
	return Adopt(l, path)
}

// Adopt returns the Listener of a socket that was made elsewhere and lies at a
// path. It owns l, also when there is an error.
func Adopt(l *net.UnixListener, path string) (*Listener, error) {
	path = Name(path)
	l.SetUnlinkOnClose(false) // it may be another one's by then
	file, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("the socket that was just made: %w", err)
	}
	return &Listener{UnixListener: l, path: path, file: file}, nil
}

// Path returns where the socket is.
func (l *Listener) Path() string { return l.path }

// Close stops listening and removes the socket, unless another has taken its
// place.
func (l *Listener) Close() (err error) {
	l.closing.Do(func() {
		// No other file has its number while it is open.
		if file, serr := os.Lstat(l.path); serr == nil && os.SameFile(file, l.file) {
			err = os.Remove(l.path)
		}
		if cerr := l.UnixListener.Close(); err == nil {
			err = cerr
		}
	})
	return err
}

// Name keeps a path from being taken for a name in Linux's abstract space, which
// OpenSSH's files and flags can't name.
func Name(path string) string {
	if strings.HasPrefix(path, "@") {
		return "./" + path
	}
	return path
}
