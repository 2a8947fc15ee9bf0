//go:build unix

package fdpass

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxPassed is how many descriptors one message may have (Linux: SCM_MAX_FD).
const MaxPassed = 253

// Check returns an error that says what f is, unless it is a unix stream socket,
// over which Send can work.
func Check(f *os.File) error {
	what := "closed"
	if st, err := f.Stat(); err == nil {
		switch mode := st.Mode(); {
		case mode&os.ModeSocket != 0:
			what = "a socket of another kind"
			addr, err := unix.Getsockname(descriptor(f))
			kind, kindErr := unix.GetsockoptInt(descriptor(f), unix.SOL_SOCKET, unix.SO_TYPE)
			if _, ok := addr.(*unix.SockaddrUnix); ok && err == nil && kindErr == nil && kind == unix.SOCK_STREAM {
				return nil
			}
		case mode&os.ModeNamedPipe != 0:
			what = "a pipe"
		case mode&os.ModeCharDevice != 0:
			what = "a terminal or another device"
		default:
			what = "a file"
		}
	}
	return fmt.Errorf("standard output is %s, and no unix socket to pass a descriptor over", what)
}

// Send passes conn's descriptor over the unix socket out: one NUL byte that
// carries it. The descriptor is made blocking, as who gets it expects, so that
// conn is of no more use here but to be closed.
func Send(out *os.File, conn syscall.Conn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("pass the descriptor: %w", err)
	}
	to := descriptor(out)
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		if sendErr = unix.SetNonblock(int(fd), false); sendErr != nil {
			return
		}
		for {
			sendErr = unix.Sendmsg(to, []byte{0}, unix.UnixRights(int(fd)), nil, 0)
			if sendErr != unix.EINTR {
				return
			}
		}
	})
	if err := errors.Join(err, sendErr); err != nil {
		return fmt.Errorf("pass the descriptor over standard output: %w", err)
	}
	return nil
}

// descriptor is f's, or -1. Unlike File.Fd it leaves a non-blocking one so.
func descriptor(f syscall.Conn) int {
	n := -1
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n = int(fd) })
	}
	return n
}

// Pair returns a connected pair of unix stream sockets: near is ours and has
// deadlines, far blocks and is for another program. Both are the caller's to
// close, and neither stays open in programs that are started.
func Pair() (near *net.UnixConn, far *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	f, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), far, nil
}

// Receive waits for one message and reads it: n bytes into b, and the descriptors
// that came with them, which are the caller's to close. What b has no room for
// comes with the next call. The sender's end is n = 0 without descriptors.
//
// The descriptors stay open in programs that are started later only if inherit is
// set, as ssh leaves them.
func Receive(c *net.UnixConn, b []byte, inherit bool) (n int, fds []int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	oob := make([]byte, unix.CmsgSpace(4*MaxPassed))
	var recvErr error
	err = raw.Read(func(fd uintptr) bool {
		// It does not block, so the lock is held for a moment: no program may be
		// started between the arrival of a descriptor and its flag.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		var oobn int
		for {
			if n, oobn, _, _, recvErr = unix.Recvmsg(int(fd), b, oob, 0); recvErr != unix.EINTR {
				break
			}
		}
		if recvErr == nil {
			fds = rights(oob[:oobn])
		}
		if !inherit {
			for _, passed := range fds {
				unix.CloseOnExec(passed)
			}
		}
		return recvErr != unix.EAGAIN
	})
	if err == nil && recvErr != nil {
		n, err = 0, os.NewSyscallError("recvmsg", recvErr)
	}
	return n, fds, err
}

// rights are the descriptors in control messages; those of other kinds are left
// out.
func rights(oob []byte) (fds []int) {
	messages, _ := unix.ParseSocketControlMessage(oob) // what is cut short has none
	for i := range messages {
		some, _ := unix.ParseUnixRights(&messages[i])
		fds = append(fds, some...)
	}
	return fds
}
