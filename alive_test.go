package adit_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/userauth"
	"github.com/adit-ssh/adit/internal/wire"
)

// quietServer lets a client in and hands over what it sends from then on,
// without an answer to anything.
type quietServer struct {
	*transport.Conn
	asked <-chan string // names of global requests
}

// connectQuietly logs in to a quietServer over a pipe; the client's end is nc.
// All is done in fake time, so only silence takes any.
func connectQuietly(t *testing.T, cfg adit.Config) (c *adit.Client, s quietServer, nc *testnet.Conn) {
	t.Helper()
	nc, far := testnet.Pipe(testnet.Options{})
	host := testpeer.NewSigner(t)
	type half struct {
		t   *transport.Conn
		err error
	}
	up := make(chan half)
	go func() {
		t, err := transport.Server(context.Background(), far, &transport.Config{HostKeys: []gossh.Signer{host}})
		if err == nil {
			_, err = userauth.Server(context.Background(), t, userauth.ServerConfig{
				PublicKey: func(context.Context, string, gossh.PublicKey, bool) userauth.Verdict { return userauth.Accept }})
		}
		up <- half{t, err}
	}()
	cfg.CheckHostKey, cfg.Keys = adit.FixedHostKey(host.PublicKey()), adit.Keys(testpeer.NewSigner(t))
	c, err := adit.NewClient(t.Context(), nc, "db.test:22", "u", &cfg)
	h := <-up
	if err != nil || h.err != nil {
		t.Fatal(err, h.err)
	}
	asked := make(chan string, 100)
	go func() { // ends with the connection
		defer close(asked)
		for {
			p, err := h.t.ReadPacket()
			if err != nil {
				return
			}
			var m wire.GlobalRequest
			if wire.Parse(p, &m) == nil {
				asked <- m.Type
			}
		}
	}()
	t.Cleanup(func() { c.Close(); h.t.Close() })
	return c, quietServer{h.t, asked}, nc
}

// wantTimeout waits for the connection's end, which must come after exactly so
// much time.
func wantTimeout(t *testing.T, c *adit.Client, began time.Time, want time.Duration) {
	t.Helper()
	<-c.Done()
	if took := time.Since(began); took != want {
		t.Errorf("the connection ended after %v, want %v", took, want)
	}
	e, ok := errors.AsType[*adit.TimeoutError](c.Err())
	if !ok || e.Error() != "Timeout, server db.test not responding." || !e.Timeout() {
		t.Errorf("got %v, want a TimeoutError", c.Err())
	}
}

// A server that is silent for an interval is asked, and given up after
// AliveCountMax more, as with ServerAliveInterval and ServerAliveCountMax.
func TestAlive(t *testing.T) {
	for _, tt := range []struct {
		most int
		ends time.Duration
	}{{0, 40 * time.Second}, {1, 20 * time.Second}, {5, 60 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			c, s, _ := connectQuietly(t, adit.Config{AliveInterval: 10 * time.Second, AliveCountMax: tt.most})
			if name := <-s.asked; name != wire.GlobalKeepalive || time.Since(began) != 10*time.Second {
				t.Errorf("asked %q after %v, want keepalive after 10s", name, time.Since(began))
			}
			wantTimeout(t, c, began, tt.ends)
		})
	}
}

// With ServerAliveCountMax 0 nothing is asked: the first silent interval is the end.
func TestAliveUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c, s, _ := connectQuietly(t, adit.Config{AliveInterval: 10 * time.Second, AliveCountMax: -1})
		wantTimeout(t, c, began, 10*time.Second)
		if len(s.asked) > 0 {
			t.Errorf("asked %q, want no question", <-s.asked)
		}
	})
}

// Whatever comes from the server counts as an answer, and the interval begins
// anew with it.
func TestAliveByAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c, s, _ := connectQuietly(t, adit.Config{AliveInterval: 10 * time.Second, AliveCountMax: 1})
		for range 20 {
			<-time.After(9 * time.Second)
			s.WritePacket((&wire.Ignore{}).Append(nil), nil)
		}
		select {
		case name := <-s.asked:
			t.Errorf("asked %q of a server that speaks", name)
		case <-c.Done():
			t.Fatalf("ended: %v", c.Err())
		default:
		}
		for range 5 { // asked, and late, but there
			<-time.After(15 * time.Second)
			s.WritePacket((&wire.Ignore{}).Append(nil), nil)
		}
		wantTimeout(t, c, began, 20*9*time.Second+5*15*time.Second+20*time.Second)
	})
}

// The end comes also where no question can be sent, as much else waits before it.
// In real time: a mutex is waited for, which fake time does not bear.
func TestAliveOnFullLink(t *testing.T) {
	c, _, nc := connectQuietly(t, adit.Config{AliveInterval: 20 * time.Millisecond, AliveCountMax: 2})
	nc.StallNow()
	for err := error(nil); err == nil; {
		_, _, err = c.SendRequest(context.Background(), "noise@test", false, make([]byte, 1000))
	}
	<-c.Done()
	if _, ok := errors.AsType[*adit.TimeoutError](c.Err()); !ok {
		t.Errorf("got %v, want a TimeoutError", c.Err())
	}
}

// A real sshd on a link that dies without a word, as one does whose other end lost
// its power: what is sent is taken and goes nowhere.
func TestAliveDeadLink(t *testing.T) {
	testpeer.Need(t, "sshd")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var dead atomic.Bool
	wg.Go(func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		far, err := net.Dial("tcp4", server.Addr)
		if err != nil {
			t.Error(err)
			return
		}
		carry := func(to, from net.Conn) {
			buf := make([]byte, 32<<10)
			for {
				n, err := from.Read(buf)
				if err != nil {
					to.Close() // also sets the other direction free
					return
				}
				if !dead.Load() {
					to.Write(buf[:n])
				}
			}
		}
		wg.Go(func() { carry(near, far) })
		carry(far, near)
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	c := dial(t, l.Addr().String(), &adit.Config{User: server.User, CheckHostKey: adit.FixedHostKey(server.HostKeys[0]),
		Keys: adit.Keys(server.Key.Signer), AliveInterval: 400 * time.Millisecond, AliveCountMax: 1})
	if _, err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	dead.Store(true)
	began := time.Now()
	<-c.Done()
	if e, ok := errors.AsType[*adit.TimeoutError](c.Err()); !ok || e.Silent < 800*time.Millisecond || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %v, want a TimeoutError after 800ms of silence", c.Err(), time.Since(began))
	}
}

// Ping tells how far the server is, and ends with its context.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, _ := connectQuietly(t, adit.Config{})
		go func() {
			<-s.asked
			<-time.After(30 * time.Millisecond)
			s.WritePacket((&wire.RequestFailure{}).Append(nil), nil)
		}()
		if rtt, err := c.Ping(t.Context()); rtt != 30*time.Millisecond || err != nil {
			t.Errorf("got %v, %v, want 30ms", rtt, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

var _ net.Error = (*adit.TimeoutError)(nil)
