package transport

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/sockio"
)

// notSent is how much of what we wrote the kernel may keep unsent, in bytes.
// The rest waits in our lanes, where a message of a higher lane can overtake
// it.
const notSent = 256 << 10

// maxRuns is the most runs given to one writev(2): what unix.Writev holds on
// its stack.
const maxRuns = 8

// rawSocket writes to a TCP or unix socket, or a pipe, without waiting.
type rawSocket struct {
	raw  syscall.RawConn
	send func(fd uintptr, bufs [][]byte) (int, error)
	step func(fd uintptr) bool // made once, so that a write does not allocate

	// Arguments and results of step.
	runs    *[][]byte
	wait    bool
	stalled bool
	err     error
}

// newSocket returns the best socket for nc and the best way to read, and prepares
// nc.
func newSocket(nc net.Conn) (s socket, read func([]byte) (int, error), tcp *tcpTuner) {
	var sc syscall.Conn
	send := sockio.Send
	switch c := nc.(type) {
	case *net.TCPConn:
		c.SetNoDelay(true)
		sc = c
	case *net.UnixConn:
		sc = c
	case outConn:
		sc, send = c.OutConn(), writev
	}
	if sc == nil {
		return connSocket{nc}, nc.Read, nil // not known to be non-blocking
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return connSocket{nc}, nc.Read, nil
	}
	read = nc.Read
	if _, piped := nc.(outConn); !piped {
		read = rawReader(raw)
	}
	if _, ok := nc.(*net.TCPConn); ok {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSent)
		})
		ack := func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
		tcp = &tcpTuner{ack: func() { raw.Control(ack) }}
		if lowWaterWakes() {
			tcp.lowWater, tcp.wait = lowWaterSetter(raw), waiter(raw)
		}
	}
	r := &rawSocket{raw: raw, send: send}
	r.step = r.writeSome
	return r, read, tcp
}

// writev writes to a pipe.
func writev(fd uintptr, bufs [][]byte) (int, error) { return unix.Writev(int(fd), bufs) }

// rawReader returns the Read of a socket.
func rawReader(raw syscall.RawConn) func([]byte) (int, error) {
	var bufs [1][]byte
	var n int
	var rerr error
	step := func(fd uintptr) bool {
		n, rerr = sockio.Recv(fd, bufs[:])
		return rerr != unix.EAGAIN
	}
	return func(p []byte) (int, error) {
		bufs[0] = p
		switch err := raw.Read(step); {
		case err != nil:
			return 0, err
		case rerr != nil:
			return 0, os.NewSyscallError("read", rerr)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// lowWaterWakes reports whether a lower SO_RCVLOWAT makes a socket readable for
// those who wait already, as it does since Linux 4.18. Before, a reader that
// waits for much would not see that little is all that comes.
var lowWaterWakes = sync.OnceValue(func() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 4 || major == 4 && minor >= 18
})

// lowWaterSetter returns a function that sets SO_RCVLOWAT.
func lowWaterSetter(raw syscall.RawConn) func(bytes int) {
	var mu sync.Mutex
	var bytes int
	set := func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes) }
	return func(n int) {
		mu.Lock()
		defer mu.Unlock()
		bytes = n
		raw.Control(set)
	}
}

// waiter returns a function that waits until so many bytes can be read, or the
// socket becomes readable, which is what SO_RCVLOWAT says.
func waiter(raw syscall.RawConn) func(bytes int) {
	var want int
	var looked bool
	step := func(fd uintptr) bool {
		if looked {
			return true
		}
		looked = true
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		return err != nil || n >= want
	}
	return func(bytes int) {
		want, looked = bytes, false
		raw.Read(step)
	}
}

func (s *rawSocket) write(runs *[][]byte, wait bool) (all, stalled bool, err error) {
	s.runs, s.wait, s.stalled, s.err = runs, wait, false, nil
	err = s.raw.Write(s.step)
	if err == nil {
		err = s.err
	}
	s.runs = nil
	return err == nil && len(*runs) == 0, s.stalled, err
}

// writeSome writes until all is written or the socket would block. It returns
// false to be called again when the socket is writable.
func (s *rawSocket) writeSome(fd uintptr) bool {
	for len(*s.runs) > 0 {
		n, err := s.send(fd, (*s.runs)[:min(len(*s.runs), maxRuns)])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			s.stalled = true
			return !s.wait
		case err != nil:
			s.err = os.NewSyscallError("write", err)
			return true
		}
		*s.runs = skip(*s.runs, n)
	}
	return true
}

// skip takes n bytes off the front of runs.
func skip(runs [][]byte, n int) [][]byte {
	for len(runs) > 0 && n >= len(runs[0]) {
		n -= len(runs[0])
		runs = runs[1:]
	}
	if n > 0 {
		runs[0] = runs[0][n:]
	}
	return runs
}
