package testpeer

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func TestHashTarget(t *testing.T) {
	target := HashTarget(t)
	for _, n := range []int64{0, 1, 1 << 20} {
		if err := Upload(dial(t, target.Addr), n); err != nil {
			t.Errorf("Upload %d: %v", n, err)
		}
		if err := Download(dial(t, target.Addr), n); err != nil {
			t.Errorf("Download %d: %v", n, err)
		}
	}
	if got := target.Accepted(); got != 6 {
		t.Errorf("Accepted = %d, want 6", got)
	}
}

// flip changes one bit of the byte that passes at a place.
type flip struct {
	io.ReadWriter
	in, out int // bytes until the flip; negative when it is done
}

func (f *flip) Read(p []byte) (int, error) {
	n, err := f.ReadWriter.Read(p)
	if f.in >= 0 && f.in < n {
		p[f.in] ^= 1
	}
	f.in -= n
	return n, err
}

func (f *flip) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	if f.out >= 0 && f.out < len(p) {
		p[f.out] ^= 1
	}
	f.out -= len(p)
	return f.ReadWriter.Write(p)
}

func TestTransfersNoticeOneBit(t *testing.T) {
	target := HashTarget(t)
	if err := Upload(&flip{dial(t, target.Addr), -1, 50_000}, 100_000); err == nil {
		t.Error("Upload did not notice a changed bit")
	}
	if err := Download(&flip{dial(t, target.Addr), 50_000, -1}, 100_000); err == nil {
		t.Error("Download did not notice a changed bit")
	}
	if err := Echo(&noClose{dial(t, EchoTarget(t).Addr)}, 100_000); err == nil {
		t.Error("Echo did not notice that EOF never went out")
	}
}

// noClose is a connection whose CloseWrite is lost, as with a forwarder that
// closes both ways at once.
type noClose struct{ *net.TCPConn }

func (c *noClose) CloseWrite() error { return c.TCPConn.Close() }

func TestEchoTarget(t *testing.T) {
	if err := Echo(dial(t, EchoTarget(t).Addr), 3<<20); err != nil {
		t.Error(err)
	}
}

func TestFailingTargets(t *testing.T) {
	c := dial(t, ResetTarget(t).Addr)
	c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ResetTarget: %v, want ECONNRESET", err)
	}

	c = dial(t, SilentTarget(t).Addr)
	c.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("SilentTarget: %v, want the deadline", err)
	}

	if _, err := net.Dial("tcp4", RefusedAddr(t)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("RefusedAddr: %v, want ECONNREFUSED", err)
	}

	got, err := io.ReadAll(dial(t, GreetingTarget(t, "220 hello\r\n").Addr))
	if !strings.HasPrefix(string(got), "220 ") || err != nil {
		t.Errorf("GreetingTarget: %q, %v", got, err)
	}
}
