package mux

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/sockio"
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

// rawSource reads into the packets of a batch.
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
	n, err := sockio.Recv(fd, iov)
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

func newSink(w io.Writer) sink {
	raw := rawConn(w)
	if raw == nil {
		return nil
	}
	s := &rawSink{raw: raw}
	s.step = s.writeOnce
	return s
}

// rawSink writes what the socket takes without waiting.
type rawSink struct {
	raw  syscall.RawConn
	step func(fd uintptr) bool // made once
	bufs [][]byte
	n    int64
	err  error
}

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
		part := bufs[:min(len(bufs), sockio.MaxBufs)]
		want := 0
		for _, b := range part {
			want += len(b)
		}
		n, err := sockio.Send(fd, part)
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			s.err = os.NewSyscallError("write", err)
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
