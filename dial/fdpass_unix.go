//go:build unix

package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/fdpass"
)

func (d Fdpass) dial(ctx context.Context) (net.Conn, error) {
	near, far, err := fdpass.Pair()
	if err != nil {
		return nil, err
	}
	defer near.Close()
	p, err := Command(d).start(far, far, d.Stderr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { near.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	f, err := receive(near)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = &fdpassError{"it passed no connection in time", fdpassHint}
		}
		if err == io.EOF {
			e := p.outcome("it closed its standard output, and still runs")
			e.what += " without having passed a connection"
			err = e
		}
		p.end()
		return nil, err
	}
	defer f.Close()
	near.Close()
	// Not before: it may still write to the socket, as to a proxy.
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.end()
		return nil, errNoEnd
	}
	// A pump that it left behind may hold standard error. That is read until the
	// pump ends: a write that fails might end it too early.
	within(p.drained, endGrace/10)
	return socketOf(f)
}

// receive waits for the message, and returns the first descriptor of it. It is
// io.EOF if the program closed its end.
func receive(c *net.UnixConn) (*os.File, error) {
	b := make([]byte, maxPrintable)
	n, fds, err := fdpass.Receive(c, b, false)
	switch {
	case errors.Is(err, unix.ECONNRESET): // it ended with something unread
		return nil, io.EOF
	case err != nil:
		return nil, plain(err)
	case n == 0 && len(fds) == 0:
		return nil, io.EOF
	case len(fds) == 0:
		return nil, &fdpassError{fmt.Sprintf("it wrote %q instead of passing a connection", printable(string(b[:n]))), fdpassHint}
	}
	for _, fd := range fds[1:] {
		unix.Close(fd)
	}
	return os.NewFile(uintptr(fds[0]), "passed"), nil
}

// socketOf makes a connection of a descriptor, if it is a stream that is
// connected. f stays open.
func socketOf(f *os.File) (net.Conn, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var bad string
	raw.Control(func(fd uintptr) { bad = unfit(int(fd)) })
	if bad != "" {
		return nil, &fdpassError{what: "it passed " + bad + ", not a connection"}
	}
	switch c, err := net.FileConn(f); c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return c, nil
	default:
		if err == nil {
			c.Close()
		}
		return otherSocket(f) // vsock, say, which systemd-ssh-proxy passes
	}
}

// unfit says what a descriptor is if that is no connected stream.
func unfit(fd int) string {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "something strange (" + err.Error() + ")"
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
	case unix.S_IFIFO:
		return "a pipe"
	case unix.S_IFREG:
		return "a file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFCHR:
		return "a terminal or another device"
	default:
		return "no socket"
	}
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return "a socket for datagrams"
	}
	if _, err := unix.Getpeername(fd); err == unix.ENOTCONN {
		return "a socket that is not connected"
	}
	return ""
}

// otherSocket is a socket of a family that package net does not know.
func otherSocket(f *os.File) (net.Conn, error) {
	in, err := copyOf(f)
	if err != nil {
		return nil, err
	}
	out, err := copyOf(f)
	if err != nil {
		in.Close()
		return nil, err
	}
	c := newPipeConn(in, out, commandAddr("a socket"), nil)
	c.out = sending(c.out)
	return c, nil
}
