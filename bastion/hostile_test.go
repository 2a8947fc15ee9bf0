package bastion

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/wire"
)

// handshake runs the client's half of the transport.
func handshake(t *testing.T, nc net.Conn) *transport.Conn {
	t.Helper()
	c, err := transport.Client(t.Context(), nc, &transport.Config{CheckHostKey: func(string, gossh.PublicKey) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// every sends something every ten seconds, until that fails.
func every(send func() error) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for send() == nil {
		<-tick.C
	}
}

// wantTooLong reads to the connection's end, and checks what the server says.
func wantTooLong(t *testing.T, c *transport.Conn) {
	t.Helper()
	defer c.Close()
	var err error
	for err == nil {
		_, err = c.ReadPacket()
	}
	if d, ok := errors.AsType[*transport.DisconnectError](err); !ok || !strings.Contains(d.Text, "took too long") {
		t.Errorf("the client got %v, want a DISCONNECT that tells why", err)
	}
}

// TestLoginTimeout: a client that does not log in is sent away in time, wherever
// it stops, and whatever it sends to look busy. Until then it counts.
func TestLoginTimeout(t *testing.T) {
	for _, c := range []struct {
		name   string
		buffer int // of the connection
		client func(t *testing.T, nc net.Conn)
	}{
		{"says nothing", 0, func(*testing.T, net.Conn) {}},
		{"reads nothing", 100, func(*testing.T, net.Conn) {}},
		{"version only", 0, func(_ *testing.T, nc net.Conn) { io.WriteString(nc, "SSH-2.0-x\r\n") }},
		{"version byte by byte", 0, func(_ *testing.T, nc net.Conn) {
			line := strings.NewReader("SSH-2.0-" + strings.Repeat("x", 200))
			every(func() error { _, err := io.CopyN(nc, line, 1); return err })
		}},
		{"a packet byte by byte", 0, func(_ *testing.T, nc net.Conn) {
			packet := strings.NewReader("SSH-2.0-x\r\n\x00\x00\x01\x04\x04\x14" + strings.Repeat("x", 250))
			every(func() error { _, err := io.CopyN(nc, packet, 1); return err })
		}},
		{"handshake only", 0, func(t *testing.T, nc net.Conn) {
			wantTooLong(t, handshake(t, nc))
		}},
		{"service only", 0, func(t *testing.T, nc net.Conn) {
			c := handshake(t, nc)
			c.WritePacket((&wire.ServiceRequest{Service: wire.ServiceUserauth}).Append(nil), nil)
			wantTooLong(t, c)
		}},
		{"key exchanges without end", 0, func(t *testing.T, nc net.Conn) {
			c := handshake(t, nc)
			defer c.Close()
			go c.ReadPacket()
			every(func() error { c.Rekey(); return c.Err() })
		}},
		{"pings without end", 0, func(t *testing.T, nc net.Conn) {
			c := handshake(t, nc)
			defer c.Close()
			go c.ReadPacket()
			every(func() error { return c.WritePacket((&wire.Ping{}).Append(nil), nil) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logged := make(chan string, 10)
				s, err := New(Config{HostKeys: []gossh.Signer{testpeer.NewSigner(t)}, MaxStartups: 1, Log: func(line string) { logged <- line },
					Authorize: func(context.Context, string, net.Addr, gossh.PublicKey) *Permissions { return nil }})
				if err != nil {
					t.Fatal(err)
				}
				l := testnet.Listen(testnet.Options{Buffer: c.buffer})
				go s.Serve(l)
				defer s.Shutdown(t.Context())
				began := time.Now()
				nc := dialTest(t, l)
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() { c.client(t, nc) })

				synctest.Wait()
				dialTest(t, l)
				if line := <-logged; !strings.Contains(line, "too many connections") {
					t.Errorf("the log says %q of a second connection, want that it is refused", line)
				}
				if line := <-logged; !strings.Contains(line, "not logged in within 2m0s") {
					t.Errorf("the log says %q, want the time-out", line)
				}
				// A second is for the DISCONNECT to leave.
				if took := time.Since(began); took < DefaultLoginTimeout || took > DefaultLoginTimeout+time.Second {
					t.Errorf("it took %v, want %v", took, DefaultLoginTimeout)
				}
				third := dialTest(t, l)
				var b [4]byte
				if _, err := io.ReadFull(third, b[:]); err != nil || string(b[:]) != "SSH-" {
					t.Errorf("got %q, %v, want that another is served now", b, err)
				}
			})
		})
	}
}

func dialTest(t *testing.T, l *testnet.Listener) net.Conn {
	t.Helper()
	nc, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}
