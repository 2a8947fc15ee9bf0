//go:build unix

package dial

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// copyOf returns another descriptor of the same file, which does not block.
func copyOf(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	cerr := raw.Control(func(old uintptr) {
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, true)
		}
	})
	if err = errors.Join(cerr, err); err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// sending has the end of w told to the other side if it is a socket.
func sending(w writer) writer {
	f, ok := w.(*os.File)
	if !ok {
		return w
	}
	if st, err := f.Stat(); err != nil || st.Mode()&os.ModeSocket == 0 {
		return w
	}
	return shutter{f}
}

// shutter is a socket's sending half, whose end the other side learns.
type shutter struct{ *os.File }

// Close ends the sending half.
func (s shutter) Close() error {
	raw, err := s.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
	return s.File.Close()
}
