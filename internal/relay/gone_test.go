package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// What this system returns, not what a table says that it does.
func TestPeerGone(t *testing.T) {
	want := func(t *testing.T, err error, gone bool) {
		t.Helper()
		if PeerGone(err) != gone {
			t.Errorf("%v: a peer that has gone: %t, want %t", err, !gone, gone)
		}
	}
	// reset is a connection that its other end has reset.
	reset := func(t *testing.T) net.Conn {
		t.Helper()
		connected, done := make(chan struct{}), make(chan struct{})
		addr := testnet.ServeTCP(t, func(c *net.TCPConn) {
			<-connected
			c.SetLinger(0)
			c.Close()
			close(done)
		})
		c, err := net.Dial("tcp", addr)
		close(connected)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		<-done
		return c
	}
	t.Run("read", func(t *testing.T) {
		_, err := reset(t).Read(make([]byte, 1))
		want(t, err, true)
	})
	t.Run("write", func(t *testing.T) {
		_, err := io.WriteString(reset(t), "x")
		want(t, err, true)
	})
	t.Run("pipe", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		r.Close()
		_, err = io.WriteString(w, "x")
		want(t, err, true)
	})
	t.Run("refused", func(t *testing.T) {
		c, err := net.Dial("tcp", testpeer.RefusedAddr(t))
		if err == nil {
			c.Close()
			t.Fatal("connected")
		}
		want(t, err, false)
	})
	t.Run("time limit, and our own end", func(t *testing.T) {
		c := reset(t)
		c.SetReadDeadline(time.Unix(1, 0))
		_, err := c.Read(make([]byte, 1))
		want(t, err, false)
		c.Close()
		_, err = c.Read(make([]byte, 1))
		want(t, err, false)
	})
	for _, err := range []error{nil, io.EOF, io.ErrClosedPipe, errors.New("connection reset by peer")} {
		want(t, err, false)
	}
}
