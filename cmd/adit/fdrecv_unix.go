//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/fdpass"
	"github.com/adit-ssh/adit/internal/rawpipe"
)

func (a *fdrecvArgs) run(cmd *cobra.Command, args []string) error {
	ctx, stop := rawpipe.Limit(cmd.Context(), a.timeout)
	defer stop()
	r, first, err := receiveDescriptor(ctx, args)
	if err != nil {
		return err
	}
	var out io.Writer = cmd.OutOrStdout()
	if a.relay {
		out = cmd.ErrOrStderr()
	}
	if err := r.print(out, a.json); err != nil {
		return err
	}
	if first == nil {
		return errNoDescriptor
	}
	defer first.Close()
	if !a.relay {
		return nil
	}
	conn, err := net.FileConn(first)
	if err != nil {
		return fmt.Errorf("what was passed is no connection: %w", err)
	}
	stdout := rawpipe.Watch(os.Stdout)
	p := &rawpipe.Pipe{
		In: os.Stdin, Out: os.Stdout, CloseOut: stdout.CloseWrite, Gone: stdout.Gone(), NotSSH: true,
		Dial: func(context.Context) (net.Conn, error) { return conn, nil },
	}
	return p.Run(cmd.Context())
}

// receiveDescriptor runs a helper to its end. The first descriptor that it
// passes is the caller's to close; it is nil when none came.
func receiveDescriptor(ctx context.Context, args []string) (*received, *os.File, error) {
	conn, its, err := fdpass.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	defer its.Close()
	r := &received{Command: args}
	cmd := helperCommand(args)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = its, its, os.Stderr
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start the helper: %w", err)
	}
	its.Close()
	wait := make(chan error, 1)
	go func() { wait <- cmd.Wait() }() // ends with the helper, which is killed at the latest
	first := -1
	reading := make(chan struct{})
	go func() { // ends with the helper's output, or with conn's deadline
		defer close(reading)
		first = r.read(conn)
	}()

	select {
	case <-wait:
		r.Ended = cmd.ProcessState.String()
	case <-ctx.Done():
		cmd.Process.Kill()
		<-wait
		r.Ended = "killed: " + context.Cause(ctx).Error()
	}
	r.Seconds, r.ExitStatus = time.Since(begin).Seconds(), cmd.ProcessState.ExitCode()
	// What it has left behind may hold its output open: ssh does not wait for
	// that, but what has come is to be counted.
	leave := time.AfterFunc(time.Second, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer leave.Stop()
	<-reading
	if first < 0 {
		return r, nil, nil
	}
	r.describe(first)
	return r, os.NewFile(uintptr(first), "passed"), nil
}

// helperCommand is what ssh would run: $SHELL -c "exec COMMAND".
func helperCommand(args []string) *exec.Cmd {
	if len(args) > 1 {
		return exec.Command(args[0], args[1:]...)
	}
	return exec.Command(cmp.Or(os.Getenv("SHELL"), "/bin/sh"), "-c", "exec "+args[0])
}

// maxText is how much is kept of what a helper writes, in bytes.
const maxText = 200

// read takes what the helper writes and passes until its end, and returns the
// first descriptor, -1 for none. That stays open in programs that are started
// later, as ssh leaves it.
func (r *received) read(conn *net.UnixConn) (first int) {
	first = -1
	b := make([]byte, 4096)
	var text []byte
	for {
		n, fds, err := fdpass.Receive(conn, b, true)
		for _, fd := range fds {
			if r.Descriptors++; r.Descriptors == 1 {
				first = fd
			} else {
				unix.Close(fd)
			}
		}
		if err != nil || n == 0 && len(fds) == 0 {
			break
		}
		r.Bytes += n
		text = append(text, b[:min(n, max(0, maxText-len(text)))]...)
	}
	if r.Descriptors == 0 || r.Bytes > 1 {
		r.Text = strings.Trim(string(text), "\x00")
	}
	return first
}

// describe says what a descriptor is.
func (r *received) describe(fd int) {
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		r.CloseOnExec = flags&unix.FD_CLOEXEC != 0
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil {
		r.NonBlocking = flags&unix.O_NONBLOCK != 0
	}
	if n, err := unix.IoctlGetInt(fd, ioctlPending); err == nil {
		r.Pending = n
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		r.Kind = fileKind(fd)
		return
	}
	switch kind {
	case unix.SOCK_STREAM:
		r.Kind = "stream socket"
	case unix.SOCK_DGRAM:
		r.Kind = "datagram socket"
	default:
		r.Kind = fmt.Sprintf("socket of type %d", kind)
	}
	if a, err := unix.Getsockname(fd); err == nil {
		r.Family, r.Local = socketAddress(a)
	}
	if a, err := unix.Getpeername(fd); err == nil {
		_, r.Peer = socketAddress(a)
	} else if errors.Is(err, unix.ENOTCONN) {
		r.Peer = "not connected"
	}
}

func fileKind(fd int) string {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return "unknown"
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "pipe"
	case unix.S_IFCHR:
		return "device"
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "folder"
	}
	return "unknown"
}

func socketAddress(a unix.Sockaddr) (family, text string) {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return "inet", (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrInet6:
		return "inet6", (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrUnix:
		return "unix", cmp.Or(a.Name, "unnamed")
	}
	return "unknown", ""
}
