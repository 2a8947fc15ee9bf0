//go:build unix

package control

import (
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// stream is a descriptor that a client passed, made so that reading and writing
// can be interrupted. It is the client's too, and that of whoever the client has
// it from, so it is left as it was.
type stream struct {
	io.Reader
	io.Writer
	io.Closer

	fd       int  // as it came
	blocking bool // it was blocking, and is to be so again
}

// adopt makes a stream of a descriptor, which it owns.
//
// A pipe or terminal is opened anew where the system can do that (Linux, by
// /proc): what is set on that is nobody else's. Others are made non-blocking until
// the end, as OpenSSH does it (channels.c, channel_register_fds). Regular files do
// not wait.
func adopt(fd int, flag int) *stream {
	s := &stream{fd: fd}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			s.useCopy()
			return s
		case unix.S_IFIFO, unix.S_IFCHR:
			if again := reopen(fd, flag); again != nil {
				s.use(again)
				return s
			}
		}
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil {
		s.blocking = flags&unix.O_NONBLOCK == 0
	}
	unix.SetNonblock(fd, true)
	s.useCopy()
	if f, ok := s.Reader.(*os.File); ok {
		if c, err := net.FileConn(f); err == nil { // sockets have a faster way
			switch c := c.(type) {
			case *net.UnixConn:
				f.Close()
				s.Reader, s.Writer, s.Closer = c, c, c
				return s
			case *net.TCPConn:
				f.Close()
				s.Reader, s.Writer, s.Closer = c, c, c
				return s
			}
			c.Close()
		}
	}
	return s
}

// useCopy uses another descriptor of the same file, which a Close can take away
// while the terminal's size is still asked of the first.
func (s *stream) useCopy() {
	copied, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil { // there are no descriptors left
		s.Reader, s.Writer, s.Closer = gone{err}, gone{err}, gone{err}
		return
	}
	s.use(os.NewFile(uintptr(copied), "passed")) // waits with the runtime's poller if it is non-blocking
}

func (s *stream) use(f *os.File) { s.Reader, s.Writer, s.Closer = f, f, f }

// gone is a stream that could not be made.
type gone struct{ err error }

func (g gone) Read([]byte) (int, error)  { return 0, g.err }
func (g gone) Write([]byte) (int, error) { return 0, g.err }
func (g gone) Close() error              { return nil }

// interrupt makes reads and writes return. It may be called more than once.
func (s *stream) interrupt() { s.Closer.Close() }

// giveBack closes the descriptor and leaves it as it was.
func (s *stream) giveBack() {
	s.Closer.Close()
	if s.blocking {
		unix.SetNonblock(s.fd, false)
	}
	unix.Close(s.fd)
}
