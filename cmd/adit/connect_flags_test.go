//go:build linux

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// What each flag of adit connect does to standard output, error and the log.
func TestConnectFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket, _ := testnet.ServeUnix(t, func(c net.Conn) { io.WriteString(c, "by the socket") })
	refused, banner := testpeer.RefusedAddr(t), testpeer.GreetingTarget(t, "session begins\r\nSSH-2.0-x\r\n").Addr
	for i, tt := range []struct {
		flags, address   string
		status           int
		out, stderr, log string // each is contained; out "" is nothing at all
	}{
		{"", refused, 255, "SSH-2.0-adit_0.1\r\n", "adit: error: connect to " + refused + ": connection refused\nadit: hint: ", "adit connect: " + refused + ": connect to"},
		{"--no-inband", refused, 255, "", "adit: error: connect to " + refused, "connection refused"},
		{"", banner, 0, "session begins\r\nSSH-2.0-x\r\n", "", ""},
		{"--clean", banner, 0, "SSH-2.0-x\r\n", "", "left out before the version line: session begins"},
		{"-U " + socket, "", 0, "by the socket", "", ""},
		{"-U " + socket + "x", "", 255, "SSH-2.0-adit", "connect to " + socket + "x: no such file", "no such file"},
		{"--fdpass", banner, 255, "", "standard output is a pipe", "standard output is a pipe"},
		{"-U x -x y", "", 255, "", "no proxy leads to a unix socket", ""},
		{"-X 5", refused, 255, "", "-x names none", ""},
		{"-X 6 -x y", refused, 255, "", "bad protocol", ""},
		{"-X 5 -x http://y", refused, 255, "", "leave one out", ""},
		{"--timeout -1s", refused, 255, "", "bad --timeout", ""},
		{"--proxy-ca f -x y", refused, 255, "", "--proxy-ca is for https", ""},
		{"--proxy-ca /dev/null -x https://y", refused, 255, "has no certificate in PEM", "has no certificate in PEM", ""},
	} {
		log := filepath.Join(dir, "log")
		os.Remove(log)
		args := append([]string{"connect", "--log", log}, strings.Fields(tt.flags)...)
		if tt.address != "" {
			host, port, _ := net.SplitHostPort(tt.address)
			args = append(args, host, port)
		}
		cmd := exec.Command("adit", args...)
		in, err := cmd.StdinPipe() // no EOF
		if err != nil {
			t.Fatal(err)
		}
		var out, stderr output
		cmd.Stdout, cmd.Stderr = &toldClient{output: &out, in: in}, &stderr
		err = cmd.Run()
		in.Close()
		status, err := exitStatusOf(err)
		logged, _ := os.ReadFile(log) // there may be none
		clean := tt.flags == "--clean" && string(out.text) != tt.out
		if err != nil || status != tt.status || clean || (tt.out == "") != (len(out.text) == 0) || !strings.Contains(string(out.text), tt.out) ||
			!strings.Contains(string(stderr.text), tt.stderr) || !strings.Contains(string(logged), tt.log) || tt.stderr == "" && len(stderr.text) > 0 {
			t.Errorf("%d: connect %s %s: exit status %d, want %d; %v\nout %q, want %q\nerror %q, want %q\nlog %q, want %q", i,
				tt.flags, tt.address, status, tt.status, err, out.text, tt.out, stderr.text, tt.stderr, logged, tt.log)
		}
	}
}

// toldClient is a client that goes when it is told in band why there is no server,
// as they do: adit connect lets it read for up to two seconds.
type toldClient struct {
	*output
	in io.Closer
}

func (c *toldClient) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("SSH-2.0-adit")) {
		c.in.Close()
	}
	return c.output.Write(b)
}

// A standard error that nobody reads any more, or that is full, does not keep the
// client from being told.
func TestConnectDeadStderr(t *testing.T) {
	t.Parallel()
	host, port, _ := net.SplitHostPort(testpeer.RefusedAddr(t))
	for _, closed := range []bool{true, false} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		if closed {
			r.Close()
		} else {
			w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			for err == nil { // until it is full
				_, err = w.Write(make([]byte, 4096))
			}
		}
		cmd := exec.Command("adit", "connect", host, port)
		cmd.Stderr = w
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out output
		cmd.Stdout = &toldClient{output: &out, in: in}
		hung := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		status, err := exitStatusOf(cmd.Run())
		if hung.Stop(); !bytes.Contains(out.text, []byte("adit: connect to")) || status != 255 || err != nil {
			t.Errorf("closed %v: exit status %d, %v; out %q", closed, status, err, out.text)
		}
	}
}
