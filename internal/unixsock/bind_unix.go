//go:build unix

package unixsock

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxPath is how many bytes a socket's path may have, with the one that ends it.
const MaxPath = len(unix.RawSockaddrUnix{}.Path)

// TakeRoom is how many bytes longer a socket's path is while Take makes it.
const TakeRoom = 17

// Take is Listen, except that a socket which nobody listens on any more is
// replaced. It comes into being under another name and is linked to path when it
// listens, so that nobody meets one that does not, and of several that want the
// path one gets it. The error wraps syscall.EADDRINUSE for the others.
//
// Where the path is too long for the other name, it does without: then one that
// starts at the same moment may lose its socket.
func Take(path string, mode fs.FileMode) (*Listener, error) {
	path = Name(path)
	temporary := path + "." + rand.Text()[:TakeRoom-1]
	if len(temporary) >= MaxPath {
		l, err := Listen(path, mode)
		if errors.Is(err, syscall.EADDRINUSE) && removeStale(path) {
			l, err = Listen(path, mode)
		}
		return l, err
	}
	l, err := bind(temporary, mode)
	if err != nil {
		return nil, err
	}
	defer os.Remove(temporary)
	err = os.Link(temporary, path)
	if errors.Is(err, fs.ErrExist) {
		if err = syscall.EADDRINUSE; removeStale(path) {
			err = os.Link(temporary, path)
		}
	}
	if err != nil {
		l.Close()
		if errors.Is(err, fs.ErrExist) {
			err = syscall.EADDRINUSE
		}
		return nil, err
	}
	return Adopt(l, path)
}

// bind listens on a new socket.
func bind(path string, mode fs.FileMode) (*net.UnixListener, error) {
	if len(path) >= MaxPath { // the system would call it invalid
		return nil, fmt.Errorf("%w: it has %d bytes, and a socket's has %d at most", syscall.ENAMETOOLONG, len(path), MaxPath-1)
	}
	fd, err := socket()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()               // net.FileListener duplicates it
	unix.Fchmod(fd, uint32(mode)) // Linux makes the file with it, less umask
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if err = os.Chmod(path, mode); err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, unix.SOMAXCONN))
	}
	var l net.Listener
	if err == nil {
		l, err = net.FileListener(f)
	}
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return l.(*net.UnixListener), nil
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

// Stale says whether there is a socket at a path on which nobody listens any more.
func Stale(path string) bool {
	_, stale := lookStale(Name(path))
	return stale
}

// lookStale also returns which socket it was about.
func lookStale(path string) (fs.FileInfo, bool) {
	file, err := os.Lstat(path)
	if err != nil || file.Mode().Type() != fs.ModeSocket {
		return nil, false
	}
	c, err := net.Dial("unix", path) // answers at once
	if err == nil {
		c.Close()
	}
	return file, errors.Is(err, unix.ECONNREFUSED)
}

// removeStale removes a socket that nobody listens on, and says whether the path is
// free.
func removeStale(path string) bool {
	found, stale := lookStale(path)
	if !stale {
		_, err := os.Lstat(path) // its program may have removed it meanwhile
		return errors.Is(err, fs.ErrNotExist)
	}
	return removeThat(path, found)
}

// removeThat removes a socket. It is moved away first, and back if it turns out to be
// another one: of two that find a stale one, the second must not remove the first
// one's new one.
func removeThat(path string, found fs.FileInfo) bool {
	aside := path + "." + rand.Text()[:TakeRoom-1]
	if os.Rename(path, aside) != nil {
		return false
	}
	defer os.Remove(aside)
	moved, err := os.Lstat(aside)
	// A new file may have the number of one that is gone.
	if err != nil || !os.SameFile(found, moved) || !found.ModTime().Equal(moved.ModTime()) {
		os.Link(aside, path)
		return false
	}
	return true
}
