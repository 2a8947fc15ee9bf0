//go:build unix

package fdpass

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (*net.UnixConn, *os.File) {
	t.Helper()
	near, far, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	near.SetDeadline(time.Now().Add(30 * time.Second))
	return near, far
}

// closesOnExec reports whether a descriptor is closed in programs that are started.
func closesOnExec(t *testing.T, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.FD_CLOEXEC != 0
}

// What Send passes is the connection, with all that waits on it, and blocks.
func TestSend(t *testing.T) {
	near, far := pair(t)
	conn, other := pair(t)
	io.WriteString(other, "early")
	if err := Send(far, conn); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	far.Close()
	b := make([]byte, 10)
	n, fds, err := Receive(near, b, false)
	if n != 1 || b[0] != 0 || len(fds) != 1 || err != nil {
		t.Fatalf("got %d bytes %q, %d descriptors, %v; want one NUL and one descriptor", n, b[:n], len(fds), err)
	}
	f := os.NewFile(uintptr(fds[0]), "passed")
	defer f.Close()
	flags, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("its flags are %#x, %v: a program that expects it to block fails", flags, err)
	}
	if n, err := f.Read(b); string(b[:n]) != "early" || err != nil {
		t.Errorf("read %q, %v, want what was sent before it was passed", b[:n], err)
	}
	if n, fds, err := Receive(near, b, false); n != 0 || len(fds) != 0 || err != nil {
		t.Errorf("at the end: %d bytes, %d descriptors, %v; want nothing", n, len(fds), err)
	}
}

// Whatever comes is told: text, several descriptors, none.
func TestReceive(t *testing.T) {
	near, far := pair(t)
	for _, inherit := range []bool{false, true} {
		if err := unix.Sendmsg(descriptor(far), []byte("text"), unix.UnixRights(0, 1, 2), nil, 0); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2)
		n, fds, err := Receive(near, b, inherit)
		if string(b[:n]) != "te" || len(fds) != 3 || err != nil {
			t.Errorf("got %q, %d descriptors, %v; want the first bytes and three", b[:n], len(fds), err)
		}
		for _, fd := range fds {
			if closesOnExec(t, fd) == inherit {
				t.Errorf("inherit %v: the descriptor's flag says the opposite", inherit)
			}
			unix.Close(fd)
		}
		if n, fds, err := Receive(near, b, inherit); string(b[:n]) != "xt" || len(fds) != 0 || err != nil {
			t.Errorf("got %q, %d descriptors, %v; want the rest alone", b[:n], len(fds), err)
		}
	}
	near.SetReadDeadline(time.Unix(1, 0))
	if _, _, err := Receive(near, make([]byte, 1), false); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past its deadline: %v", err)
	}
	near.Close()
	if _, _, err := Receive(near, make([]byte, 1), false); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestCheck(t *testing.T) {
	_, far := pair(t)
	if err := Check(far); err != nil {
		t.Error(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	datagrams := os.NewFile(uintptr(fds[0]), "datagrams")
	defer datagrams.Close()
	unix.Close(fds[1])
	closed, _ := os.Open(os.DevNull)
	closed.Close()
	for f, want := range map[*os.File]string{w: "is a pipe", file: "is a file", null: "another device", datagrams: "a socket of another kind", closed: "is closed"} {
		if err := Check(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", f.Name(), err, want)
		}
	}
	if conn, _ := pair(t); Send(w, conn) == nil {
		t.Error("a descriptor was passed over a pipe")
	}
}
