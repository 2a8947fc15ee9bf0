package mux

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/packet"
)

// rawConn returns the descriptor of a TCP or unix stream socket, or nil.
func rawConn(v any) syscall.RawConn {
	switch v.(type) {
	case *net.TCPConn, *net.UnixConn:
		if raw, err := v.(syscall.Conn).SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

func newSource(r io.Reader) source {
	raw := rawConn(r)
	if raw == nil {
		return readerSource{r}
	}
	s := &rawSource{raw: raw}
	s.step = s.readSome
	return s
}

// rawSource reads with readv(2) into the packets of a batch.
type rawSource struct {
	raw  syscall.RawConn
	step func(fd uintptr) bool // made once

	// Arguments and results of step.
	get   func() *packet.Batch
	max   int
	slots int
	batch *packet.Batch
	n     int
	err   error
}

func (s *rawSource) read(get func() *packet.Batch, max, slots int) (*packet.Batch, int, error) {
	s.get, s.max, s.slots, s.batch, s.n, s.err = get, max, slots, nil, 0, nil
	err := s.raw.Read(s.step)
	if err == nil {
		err = s.err
	}
	b := s.batch
	s.batch = nil
	if err != nil && b != nil {
		b.Release()
		b = nil
	}
	return b, s.n, err
}

// readSome reads once. It returns false to be called again when there is data,
// and holds no batch meanwhile.
func (s *rawSource) readSome(fd uintptr) bool {
	b := s.get()
	left, iov := s.max, b.Vec[:0]
	for i := 0; i < min(s.slots, b.Slots()) && left > 0; i++ {
		d := b.Data(i)
		d = d[:min(len(d), left)]
		left -= len(d)
		iov = append(iov, d)
	}
	var n int
	var err error
	for {
		if len(iov) == 1 {
			n, err = unix.Read(int(fd), iov[0])
		} else {
			n, err = readv(int(fd), iov)
		}
		if err != unix.EINTR {
			break
		}
	}
	switch {
	case err == unix.EAGAIN:
		b.Release()
		return false
	case err != nil:
		b.Release()
		s.err = os.NewSyscallError("read", err)
	case n == 0:
		b.Release()
		s.err = io.EOF
	default:
		s.batch, s.n = b, n
	}
	return true
}

// readv is unix.Readv, which allocates for more than eight slices, 16 KiB a
// megabyte.
func readv(fd int, bufs [][]byte) (int, error) {
	var vec [packet.MaxSlots]unix.Iovec
	for i, b := range bufs {
		vec[i].Base = &b[0]
		vec[i].SetLen(len(b))
	}
	n, _, errno := unix.Syscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(&vec)), uintptr(len(bufs)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func newSink(w io.Writer) sink {
	raw := rawConn(w)
	if raw == nil {
		return nil
	}
	s := &rawSink{raw: raw}
	s.step = s.writeOnce
	return s
}

// rawSink writes with writev(2) what the socket takes without waiting.
type rawSink struct {
	raw  syscall.RawConn
	step func(fd uintptr) bool // made once
	bufs [][]byte
	n    int64
	err  error
}

// maxIOV is the most slices for one call of unix.Writev without an allocation.
const maxIOV = 8

func (s *rawSink) tryWrite(bufs [][]byte) (int64, error) {
	s.bufs, s.n, s.err = bufs, 0, nil
	err := s.raw.Write(s.step)
	if err == nil {
		err = s.err
	}
	s.bufs = nil
	return s.n, err
}

func (s *rawSink) writeOnce(fd uintptr) bool {
	for bufs := s.bufs; len(bufs) > 0; {
		part := bufs[:min(len(bufs), maxIOV)]
		want := 0
		for _, b := range part {
			want += len(b)
		}
		n, err := writev(int(fd), part)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			s.err = os.NewSyscallError("writev", err)
			break
		}
		s.n += int64(n)
		if n < want {
			break
		}
		bufs = bufs[len(part):]
	}
	return true
}

func writev(fd int, bufs [][]byte) (int, error) {
	if len(bufs) == 1 {
		return unix.Write(fd, bufs[0])
	}
	return unix.Writev(fd, bufs)
}
