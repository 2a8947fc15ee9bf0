//go:build unix

package control

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
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
var maxPath = len(unix.RawSockaddrUnix{}.Path)

// backlog is how many clients may wait to be accepted; OpenSSH's.
const backlog = 64

// Listener is a control socket.
type Listener struct {
	path string
	l    *net.UnixListener
	file os.FileInfo // the socket, to remove no other

	closing sync.Once
}

// Listen makes a control socket with mode 0600. It comes into being under another
// name and is linked to path when it listens, so that nobody meets one that does
// not, and of several masters one wins: the others get an *ExistsError. A socket
// that nobody listens on any more is replaced.
func Listen(path string) (*Listener, error) {
	temporary := path + "." + rand.Text()[:16]
	if len(temporary) >= maxPath {
		return nil, fmt.Errorf("%w: while it is made, its name is 17 bytes longer", &PathError{path, maxPath})
	}
	l, err := bind(temporary)
	if err != nil {
		return nil, fmt.Errorf("make the control socket %s: %w", path, err)
	}
	defer os.Remove(temporary)
	info, err := os.Lstat(temporary)
	if err == nil {
		if err = os.Link(temporary, path); errors.Is(err, os.ErrExist) && removeStale(path) {
			err = os.Link(temporary, path)
		}
	}
	switch {
	case errors.Is(err, os.ErrExist):
		l.Close()
		return nil, &ExistsError{path}
	case err != nil:
		l.Close()
		return nil, fmt.Errorf("make the control socket %s: %w", path, err)
	}
	return &Listener{path: path, l: l, file: info}, nil
}

// bind listens on a new socket with mode 0600. The mode is set before anybody can
// connect; umask would be that of the whole process.
func bind(path string) (*net.UnixListener, error) {
	fd, err := socket()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	unix.Fchmod(fd, 0o600) // Linux makes the file with it
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	err = os.Chmod(path, 0o600)
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	ul := l.(*net.UnixListener)
	ul.SetUnlinkOnClose(false) // the name is the Listener's matter
	return ul, nil
}

// socket makes a unix stream socket that no child inherits.
func socket() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}

// removeStale removes a socket that nobody listens on. It is moved away first,
// and back if it turns out to be another one: of two masters that find a stale one,
// the second must not remove the first one's.
func removeStale(path string) bool {
	stale, err := os.Lstat(path)
	if err != nil || stale.Mode().Type() != os.ModeSocket {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
		return false
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return false
	}
	aside := path + "." + rand.Text()[:16]
	if os.Rename(path, aside) != nil {
		return false
	}
	defer os.Remove(aside)
	moved, err := os.Lstat(aside)
	if err != nil || !os.SameFile(stale, moved) {
		os.Link(aside, path)
		return false
	}
	return true
}

// Path returns where the socket is.
func (l *Listener) Path() string { return l.path }

// Close stops listening and removes the socket, unless another has taken its
// place.
func (l *Listener) Close() error {
	var err error
	l.closing.Do(func() {
		if info, serr := os.Lstat(l.path); serr == nil && os.SameFile(info, l.file) {
			err = os.Remove(l.path)
		}
		err = errors.Join(err, l.l.Close())
	})
	return err
}

// accept returns the next client. Others than our own user and root are turned
// away (OpenSSH, channels.c, channel_post_mux_listener).
func (l *Listener) accept() (c *net.UnixConn, refused error, err error) {
	c, err = l.l.AcceptUnix()
	if err != nil {
		return nil, nil, err
	}
	uid, err := peerUID(c)
	switch own := uint32(os.Getuid()); {
	case err != nil:
		c.Close()
		return nil, fmt.Errorf("multiplex client refused: who it is: %w", err), nil
	case !mayConnect(uid, own):
		c.Close()
		return nil, fmt.Errorf("multiplex uid mismatch: peer euid %d != uid %d", uid, own), nil
	}
	return c, nil, nil
}

// mayConnect is whom a master of user own serves.
func mayConnect(peer, own uint32) bool { return peer == 0 || peer == own }
