//go:build unix

package rawpipe

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// CheckSocket returns an error that says what f is, unless it is a unix stream
// socket, over which SendSocket can work.
func CheckSocket(f *os.File) error {
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

// SendSocket passes conn's descriptor over the unix socket out as OpenSSH's
// ProxyUseFdpass and nc -F do: one NUL byte that carries it (monitor_fdpass.c).
// The descriptor is made blocking, as who gets it expects, so that conn is of no
// more use here but to be closed.
func SendSocket(out *os.File, conn syscall.Conn) error {
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

// Gone returns a channel that is closed when nobody can read any more what is
// written to f, which is a pipe, a socket or a terminal and stays open; for a
// file that is never. The goroutine that waits for it ends then, or with the
// program.
func Gone(f syscall.Conn) <-chan struct{} {
	gone := make(chan struct{})
	fds := []unix.PollFd{{Fd: int32(descriptor(f))}} // errors and hang-ups are told unasked
	go func() {
		for {
			n, err := unix.Poll(fds, -1)
			if err == unix.EINTR {
				continue
			}
			if n > 0 && err == nil {
				close(gone)
			}
			return
		}
	}()
	return gone
}

// CloseOut returns a function that tells who reads f that nothing more comes. A
// socket is shut down, since it may be standard input too.
func CloseOut(f *os.File) func() error {
	return func() error {
		if err := unix.Shutdown(descriptor(f), unix.SHUT_WR); err == nil || err != unix.ENOTSOCK {
			return err
		}
		return f.Close()
	}
}

// descriptor is f's, or -1. Unlike File.Fd it leaves a non-blocking one so.
func descriptor(f syscall.Conn) int {
	n := -1
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n = int(fd) })
	}
	return n
}
