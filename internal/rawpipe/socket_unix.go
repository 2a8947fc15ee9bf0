//go:build unix

package rawpipe

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

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
