//go:build unix

package rawpipe

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Output is standard output, or what a process that pumps has in its place: a
// pipe, a socket, a terminal or a file. It stays its owner's to close.
//
// Goroutine: one that waits for the hang-up. It ends then, with CloseWrite of a
// pipe, or with the program.
type Output struct {
	f    *os.File
	gone chan struct{}
	wake *os.File      // closed to end the goroutine; nil if that is not possible
	over chan struct{} // closed when it has ended
}

// Watch begins to wait for the hang-up.
func Watch(f *os.File) *Output {
	o := &Output{f: f, gone: make(chan struct{}), over: make(chan struct{})}
	fds := []unix.PollFd{{Fd: int32(descriptor(f))}} // errors and hang-ups are told unasked
	woken, wake, err := os.Pipe()
	if err == nil {
		o.wake = wake
		fds = append(fds, unix.PollFd{Fd: int32(descriptor(woken))})
	}
	go func() {
		defer close(o.over)
		if woken != nil {
			defer woken.Close()
		}
		for {
			n, err := unix.Poll(fds, -1)
			if err == unix.EINTR {
				continue
			}
			if n > 0 && err == nil && fds[0].Revents != 0 {
				close(o.gone)
			}
			return
		}
	}()
	return o
}

// Gone is closed when nobody can read any more what is written; for a file that is
// never.
func (o *Output) Gone() <-chan struct{} { return o.gone }

// CloseWrite tells who reads that nothing more comes. A socket is shut down, since
// it may be standard input too. A pipe is closed, which its reader sees only when
// nobody waits for its hang-up any more: that holds it open.
func (o *Output) CloseWrite() error {
	if err := unix.Shutdown(descriptor(o.f), unix.SHUT_WR); err == nil || err != unix.ENOTSOCK {
		return err
	}
	if o.wake != nil {
		o.wake.Close()
		<-o.over
	}
	return o.f.Close()
}

// descriptor is f's, or -1. Unlike File.Fd it leaves a non-blocking one so.
func descriptor(f syscall.Conn) int {
	n := -1
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n = int(fd) })
	}
	return n
}
