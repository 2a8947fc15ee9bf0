// Package dialtest is one conformance suite for all that dials: what the layers
// above believe of a connection, whatever carries it. Run is called by the test
// of each dialer.
package dialtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// Dial connects to host:port.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// patience is how long anything may take that is meant to happen at once.
const patience = 20 * time.Second

// Run tests that dial, which must be able to reach loopback addresses, connects,
// fails (at the latest when the connection is read) and gives up as adit expects
// it, and that what it returns is a proper
// connection: with half-close, deadlines that work, and a Close that wakes who
// waits. No goroutine may be left by a connection that was closed.
func Run(t *testing.T, dial Dial) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Dial)
	}{
		{"half-close", testHalfClose},
		{"server ends first", testServerEnds},
		{"much both ways", testBulk},
		{"context bounds the dial only", testContext},
		{"cancelled before", testCancelled},
		{"read deadline", testReadDeadline},
		{"close wakes a reader", testCloseWakes},
		{"refused", testRefused},
		{"bad address", testBadAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			testnet.Census(t)
			c.test(t, dial)
		})
	}
}

func testHalfClose(t *testing.T, dial Dial) {
	c := connect(t, dial, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		c.Write(append([]byte("after all of "), b...))
	})
	io.WriteString(c, "question")
	closeWrite(t, c)
	if got, err := io.ReadAll(c); string(got) != "after all of question" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func testServerEnds(t *testing.T, dial Dial) {
	got := make(chan string, 1)
	c := connect(t, dial, func(c *net.TCPConn) {
		io.WriteString(c, "greeting")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	if b, err := io.ReadAll(c); string(b) != "greeting" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := io.WriteString(c, "still there"); err != nil {
		t.Errorf("write after the other end's EOF: %v", err)
	}
	closeWrite(t, c)
	if b := <-got; b != "still there" {
		t.Errorf("after its EOF the server read %q", b)
	}
}

func testBulk(t *testing.T, dial Dial) {
	const size = 4 << 20
	type half struct{ sent, got [sha256.Size]byte }
	exchange := func(c net.Conn, seed byte) (h half) {
		var wg sync.WaitGroup
		wg.Go(func() {
			sum := sha256.New()
			if _, err := io.CopyN(io.MultiWriter(c, sum), rand.NewChaCha8([32]byte{seed}), size); err != nil {
				t.Errorf("write: %v", err)
			}
			closeWrite(t, c)
			sum.Sum(h.sent[:0])
		})
		sum := sha256.New()
		if n, err := io.Copy(sum, c); n != size || err != nil {
			t.Errorf("read %d bytes, %v; want %d", n, err, size)
		}
		sum.Sum(h.got[:0])
		wg.Wait()
		return h
	}
	far := make(chan half, 1)
	c := connect(t, dial, func(c *net.TCPConn) { far <- exchange(c, 1) })
	near := exchange(c, 2)
	if f := <-far; f.sent != near.got || near.sent != f.got {
		t.Error("what arrived is not what was sent")
	}
}

func testContext(t *testing.T, dial Dial) {
	addr := testnet.ServeTCP(t, func(c *net.TCPConn) { io.Copy(c, c) })
	ctx, cancel := context.WithCancel(t.Context())
	c, err := dial(ctx, addr)
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("the dial's context ended the connection: %v", err)
	}
}

func testCancelled(t *testing.T, dial Dial) {
	addr := testnet.ServeTCP(t, func(*net.TCPConn) {})
	reason := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	c, err := dial(ctx, addr)
	if err == nil {
		c.Close()
		t.Fatal("connected with a context that had ended")
	}
	if !errors.Is(err, reason) && !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want one that wraps %v", err, reason)
	}
}

func testReadDeadline(t *testing.T, dial Dial) {
	c := connect(t, dial, func(c *net.TCPConn) { io.Copy(c, c) })
	c.SetReadDeadline(time.Unix(1, 0))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past its deadline: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("read after the deadline was moved: %v", err)
	}
}

func testCloseWakes(t *testing.T, dial Dial) {
	c := connect(t, dial, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	c.Close()
	select {
	case err := <-done:
		if err == nil {
			t.Error("read something from a closed connection")
		}
	case <-time.After(patience):
		t.Error("Close does not wake a reader")
	}
}

func testRefused(t *testing.T, dial Dial) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := failure(dial(ctx, l.Addr().String())); err == nil {
		t.Error("connected to a port where nobody listens")
	} else if ctx.Err() != nil {
		t.Errorf("a refusal took until the deadline: %v", err)
	}
}

func testBadAddress(t *testing.T, dial Dial) {
	for _, address := range []string{"", "no-port", "127.0.0.1:99999", "127.0.0.1:"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if failure(dial(ctx, address)) == nil {
			t.Errorf("%q: connected", address)
		}
		cancel()
	}
}

// failure returns why there is no connection. Some dialers, as one that runs a
// command, learn it only when they read.
func failure(c net.Conn, err error) error {
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err = c.Read(make([]byte, 1)); errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil // that is a connection
	}
	return err
}

func connect(t *testing.T, dial Dial, f func(*net.TCPConn)) net.Conn {
	t.Helper()
	addr := testnet.ServeTCP(t, func(c *net.TCPConn) {
		c.SetDeadline(time.Now().Add(patience))
		f(c)
	})
	c, err := dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	h, ok := c.(interface{ CloseWrite() error })
	if !ok {
		t.Errorf("a %T has no CloseWrite", c)
		c.Close()
		return
	}
	if err := h.CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
}
