//go:build unix

package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/adit-ssh/adit/internal/unixsock"
)

// ExistsError is a control socket that there is already, and that answers. Its
// text is OpenSSH's.
type ExistsError struct{ Path string }

func (e *ExistsError) Error() string {
	return fmt.Sprintf("ControlSocket %s already exists, disabling multiplexing", e.Path)
}

// PathError is a ControlPath that does not fit into a socket's address. Its text
// is OpenSSH's.
type PathError struct {
	Path string
	Max  int // bytes, with the one that ends it
}

func (e *PathError) Error() string {
	return fmt.Sprintf("ControlPath too long ('%s' >= %d bytes)", e.Path, e.Max)
}

// maxPath is how long a socket's path may be, with the byte that ends it.
const maxPath = unixsock.MaxPath

// Listener is a control socket.
type Listener struct{ l *unixsock.Listener }

// Listen makes a control socket with mode 0600. Of several masters one wins: the
// others get an *ExistsError. A socket that nobody listens on any more is replaced.
func Listen(path string) (*Listener, error) {
	if len(path)+unixsock.TakeRoom >= maxPath {
		return nil, fmt.Errorf("%w: while it is made, its name is %d bytes longer", &PathError{path, maxPath}, unixsock.TakeRoom)
	}
	l, err := unixsock.Take(path, 0o600)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &ExistsError{path}
	case err != nil:
		return nil, fmt.Errorf("make the control socket %s: %w", path, err)
	}
	return &Listener{l}, nil
}

// Path returns where the socket is.
func (l *Listener) Path() string { return l.l.Path() }

// Close stops listening and removes the socket, unless another has taken its
// place.
func (l *Listener) Close() error { return l.l.Close() }

// accept returns the next client. Others than our own user and root are turned
// away (OpenSSH, channels.c, channel_post_mux_listener).
func (l *Listener) accept() (c *net.UnixConn, refused error, err error) {
	c, err = l.l.AcceptUnix()
	if err != nil {
		return nil, nil, err
	}
	_, uid, err := unixsock.PeerOf(c)
	switch own := os.Getuid(); {
	case err != nil:
		c.Close()
		return nil, fmt.Errorf("multiplex client refused: who it is: %w", err), nil
	case !mayConnect(uid, own):
		c.Close()
		return nil, fmt.Errorf("multiplex uid mismatch: peer euid %d != uid %d", uid, own), nil
	}
	return c, nil, nil
}

// mayConnect is whom a master of user own serves. Where the system does not say who
// it is (-1), the socket's mode has said.
func mayConnect(peer, own int) bool { return peer == 0 || peer == own || peer == -1 }
