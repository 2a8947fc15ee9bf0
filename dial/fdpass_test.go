//go:build unix

package dial

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/fdpass"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testnet/dialtest"
)

func TestFdpass(t *testing.T) {
	for _, mode := range []string{"pass", "pass-socketpair"} {
		t.Run(mode, func(t *testing.T) {
			dialtest.Run(t, func(ctx context.Context, address string) (net.Conn, error) {
				return Fdpass{Line: line(t, mode, address)}.Dial(ctx, address)
			})
		})
	}
}

// What a program may do besides, and what it may not: OpenSSH heeds neither the
// status nor more descriptors.
func TestFdpassModes(t *testing.T) {
	addr := listenLoopback(t)
	for _, tt := range []struct{ line, want, hint string }{
		{line(t, "pass", addr), "", ""},
		{line(t, "pass-twice", addr), "", ""},
		{line(t, "pass-and-fail", addr), "", ""},
		{line(t, "say", "SSH-2.0-\x1b[2J"), `it wrote "SSH-2.0-[2J" instead of passing a connection`, "needs ProxyUseFdpass no"},
		{line(t, "exit", "9", "why"), `it exited with status 9 without having passed a connection; it said "why"`, ""},
		{line(t, "exit", "0", ""), "it exited with status 0 without having passed a connection", ""},
		{"no-such-command", "it exited with status 127 without", "did not find that command"},
		{line(t, "pass-file", "file"), "it passed a file, not a connection", ""},
		{line(t, "pass-file", "device"), "it passed a terminal or another device, not a connection", ""},
		{line(t, "pass-pipe"), "it passed a pipe, not a connection", ""},
		{line(t, "pass-listener"), "it passed a socket that is not connected, not a connection", ""},
		{line(t, "pass-datagrams"), "it passed a socket for datagrams, not a connection", ""},
	} {
		before := testnet.Descriptors(t)
		c, err := Fdpass{Line: tt.line, Shell: "/bin/sh", Name: "helper"}.Dial(t.Context(), addr)
		if err == nil {
			if tt.want != "" {
				t.Errorf("%s: connected, want %s", tt.line, tt.want)
			}
			closeOnExec(t, c)
			c.Close()
		} else if e, ok := errors.AsType[*Error](err); tt.want == "" || !ok || !strings.Contains(err.Error(), "proxy command helper: "+tt.want) || !strings.Contains(e.Hint(), tt.hint) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.line, err, tt.want)
		}
		if after := testnet.Descriptors(t); after > before {
			t.Errorf("%s: %d descriptors are left", tt.line, after-before)
		}
	}
}

func closeOnExec(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("the socket's flags are %#x, %v: it would stay open in other programs", flags, err)
		}
	})
}

// A program that does not pass anything, or does not end, is bounded and killed.
func TestFdpassTimeout(t *testing.T) {
	addr := listenLoopback(t)
	reason := errors.New("not connected within 2s")
	for mode, want := range map[string]string{
		"never":         "it passed no connection in time: not connected within 2s",
		"pass-and-stay": "it passed a connection, but did not end: not connected within 2s",
	} {
		before := testnet.Descriptors(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		// The time is over a little after the program has done what it does.
		over := func([]byte) { time.AfterFunc(100*time.Millisecond, func() { cancel(reason) }) }
		c, err := Fdpass{Line: line(t, mode, addr), Stderr: writerFunc(over)}.Dial(ctx, addr)
		cancel(nil)
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", mode)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", mode, err, want)
		}
		if after := testnet.Descriptors(t); after > before {
			t.Errorf("%s: %d descriptors are left", mode, after-before)
		}
	}
	if left := children(t); left != "" {
		t.Errorf("children are left: %s", left)
	}
}

// A program that passes its own end of the socket pair has passed a connection to
// nobody.
func TestFdpassItself(t *testing.T) {
	c, err := Fdpass{Line: line(t, "pass-itself")}.Dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v; want its end", n, err)
	}
}

// writerFunc is called with what is written.
type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

// A socket of a family that package net does not know, such as vsock, is a
// connection like others. Here it is a unix socket that pretends.
func TestFdpassOtherSocket(t *testing.T) {
	near, far, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	c, err := otherSocket(far)
	far.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, conn := range []net.Conn{c, near} {
		conn.SetDeadline(time.Now().Add(patience))
	}
	io.WriteString(c, "question")
	c.(*pipeConn).CloseWrite()
	if b, err := io.ReadAll(near); string(b) != "question" || err != nil {
		t.Errorf("read %q, %v; want what was written, and its end", b, err)
	}
	io.WriteString(near, "answer")
	near.CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "answer" || err != nil {
		t.Errorf("read %q, %v; want the answer", b, err)
	}
	c.SetReadDeadline(time.Unix(1, 0))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past its deadline: %v", err)
	}
}

// helperRuns is how many helpers are started one after the other: 200, or what
// ADIT_RUNS says, as `make full` does.
func helperRuns(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ADIT_RUNS")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("ADIT_RUNS: %v", err)
	}
	return n
}

// Many helpers, good and bad, leave no child and no descriptor behind.
func TestHelpersLeaveNothing(t *testing.T) {
	runs := helperRuns(t)
	addr := listenLoopback(t)
	before := testnet.Descriptors(t)
	for i := range runs {
		var c net.Conn
		var err error
		var b bytes.Buffer
		switch i % 4 {
		case 0:
			c, err = Command{Line: "cat", Stderr: &b}.Dial(t.Context(), addr)
		case 1:
			c, err = Command{Line: "false"}.Dial(t.Context(), addr)
		case 2:
			if _, err := (Fdpass{Line: "echo text"}).Dial(t.Context(), addr); err == nil {
				t.Fatal("text is a connection")
			}
			continue
		case 3:
			c, err = Fdpass{Line: line(t, "pass", addr)}.Dial(t.Context(), addr)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if after := testnet.Descriptors(t); after > before {
		t.Errorf("%d descriptors before %d helpers, %d after", before, runs, after)
	}
	if left := children(t); left != "" {
		t.Errorf("children are left: %s", left)
	}
}

// children lists this process's, dead ones that nobody waited for included.
func children(t *testing.T) string {
	t.Helper()
	_, err := os.ReadFile("/proc/thread-self/children")
	if err != nil {
		t.Log("no list of children here:", err)
		return ""
	}
	var all []string
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		b, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		all = append(all, strings.Fields(string(b))...)
	}
	return strings.Join(all, " ")
}
