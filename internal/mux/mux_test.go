package mux_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/net/nettest"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/wire"
)

// transports returns both ends of a transport over loopback.
func transports(t testing.TB) (client, server *transport.Conn) {
	t.Helper()
	testnet.Census(t)
	a, b := testnet.TCPPipe(t)
	var wg sync.WaitGroup
	var cerr, serr error
	wg.Go(func() {
		server, serr = transport.Server(t.Context(), b, &transport.Config{HostKeys: []gossh.Signer{testpeer.NewSigner(t)}})
	})
	client, cerr = transport.Client(t.Context(), a, &transport.Config{CheckHostKey: func(string, gossh.PublicKey) error { return nil }})
	wg.Wait()
	if err := errors.Join(cerr, serr); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// pair returns two Muxes over a real transport.
func pair(t testing.TB, ca, cb mux.Config) (client, server *mux.Mux) {
	t.Helper()
	tc, ts := transports(t)
	client, server = mux.New(tc, ca), mux.New(ts, cb)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// channelPair opens one channel and returns both ends.
func channelPair(t testing.TB, ca, cb mux.Config, o mux.Options) (local, peer *mux.Channel) {
	t.Helper()
	got := make(chan *mux.Channel, 1)
	cb.Open = func(p *mux.Pending) {
		c, err := p.Accept(o)
		if err != nil {
			t.Error(err)
		}
		got <- c
	}
	m, _ := pair(t, ca, cb)
	local, err := m.Open(t.Context(), "test", nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return local, <-got
}

func TestNetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		a, b := channelPair(t, mux.Config{}, mux.Config{}, mux.Options{})
		return a, b, func() { a.Close(); b.Close() }, nil
	})
}

func TestHalfClose(t *testing.T) {
	a, b := channelPair(t, mux.Config{}, mux.Config{}, mux.Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		got, err := io.ReadAll(b)
		if err != nil || string(got) != "question" {
			t.Errorf("got %q, %v", got, err)
		}
		io.WriteString(b, "answer")
		b.CloseWrite()
	})
	io.WriteString(a, "question")
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(a)
	if err != nil || string(got) != "answer" {
		t.Errorf("got %q, %v, want the answer after our EOF", got, err)
	}
	wg.Wait()
	a.Close()
	b.Close()
	<-a.Closed()
	<-b.Closed()
}

// TestForward moves data socket to channel to channel to socket, both ways at
// once, on the fast paths.
func TestForward(t *testing.T) {
	for name, cfg := range map[string]mux.Config{
		"default":       {},
		"small window":  {Window: 1000, WindowMax: 1},
		"small packets": {MaxPacket: 100},
		"both":          {Window: 7, MaxPacket: 3, WindowMax: 1},
	} {
		t.Run(name, func(t *testing.T) {
			size := 16 << 20
			if cfg.Window == 7 {
				size = 2000
			} else if cfg.MaxPacket != 0 || cfg.Window != 0 {
				size = 1 << 20
			}
			a, b := channelPair(t, cfg, cfg, mux.Options{})
			outerA, innerA := testnet.TCPPipe(t)
			outerB, innerB := testnet.TCPPipe(t)
			var wg sync.WaitGroup
			copyAll := func(what string, f func() (int64, error)) {
				wg.Go(func() {
					if n, err := f(); err != nil || n != int64(size) {
						t.Errorf("%s: %d bytes, %v; want %d", what, n, err, size)
					}
				})
			}
			for _, end := range []struct {
				ch *mux.Channel
				in net.Conn
			}{{a, innerA}, {b, innerB}} {
				copyAll("socket to channel", func() (int64, error) {
					n, err := end.ch.ReadFrom(end.in)
					end.ch.CloseWrite()
					return n, err
				})
				copyAll("channel to socket", func() (int64, error) {
					n, err := end.ch.WriteTo(end.in)
					end.in.(*net.TCPConn).CloseWrite()
					return n, err
				})
			}
			data := make([]byte, size)
			rand.Read(data)
			want := sha256.Sum256(data)
			for _, end := range []net.Conn{outerA, outerB} {
				wg.Go(func() {
					end.Write(data)
					end.(*net.TCPConn).CloseWrite()
				})
				wg.Go(func() {
					h := sha256.New()
					n, err := io.Copy(h, end)
					if !bytes.Equal(h.Sum(nil), want[:]) {
						t.Errorf("got %d bytes, %v: hashes differ", n, err)
					}
				})
			}
			wg.Wait()
			a.Close()
			b.Close()
		})
	}
}

func TestChurn(t *testing.T) {
	n := 5000
	if testing.Short() {
		n = 1000
	}
	client, _ := pair(t, mux.Config{}, mux.Config{Open: func(p *mux.Pending) {
		c, err := p.Accept(mux.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		c.CloseWrite()
		c.Close()
	}})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range n / 20 {
				c, err := client.Open(t.Context(), "echo", nil, mux.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(c, "hello")
				c.CloseWrite()
				if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
					t.Errorf("got %q, %v", got, err)
				}
				c.Close()
				<-c.Closed()
			}
		})
	}
	wg.Wait()
	if n := client.Channels(); n != 0 {
		t.Errorf("client has %d channels left", n)
	}
}

func TestRefused(t *testing.T) {
	client, _ := pair(t, mux.Config{}, mux.Config{Open: func(p *mux.Pending) { p.Reject(2, "no such host") }})
	_, err := client.Open(t.Context(), "x", nil, mux.Options{})
	if e, ok := errors.AsType[*mux.OpenError](err); !ok || e.Reason != 2 || e.Description != "no such host" || e.Local {
		t.Errorf("got %v, want OpenError 2", err)
	}
	if n := client.Channels(); n != 0 {
		t.Errorf("%d channels left after a refusal", n)
	}
}

func TestOpenCancelled(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	peer := make(chan *mux.Channel, 1)
	client, _ := pair(t, mux.Config{}, mux.Config{Open: func(p *mux.Pending) {
		close(asked)
		<-release
		c, err := p.Accept(mux.Options{})
		if err != nil {
			t.Error(err)
		}
		peer <- c
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := client.Open(ctx, "x", nil, mux.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
	<-asked
	cancel()
	wg.Wait()
	close(release)
	c := <-peer
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("peer reads %v, want EOF from our CLOSE", err)
	}
	c.Close()
	<-c.Closed()
}

func TestRequests(t *testing.T) {
	a, b := channelPair(t, mux.Config{}, mux.Config{}, mux.Options{Requests: true, Stderr: true})
	var wg sync.WaitGroup
	wg.Go(func() {
		for r := range b.Requests() {
			r.Reply(r.Type == "yes")
		}
	})
	for _, name := range []string{"yes", "no", "yes"} {
		ok, err := a.SendRequest(t.Context(), name, true, nil)
		if err != nil || ok != (name == "yes") {
			t.Errorf("%s: got %v, %v", name, ok, err)
		}
	}
	if ok, err := a.SendRequest(t.Context(), "keepalive@openssh.com", true, nil); ok || err != nil {
		t.Errorf("keepalive: got %v, %v, want a refusal", ok, err)
	}
	if _, err := b.Stderr().Write([]byte("oops")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(a.Stderr(), got); err != nil || string(got) != "oops" {
		t.Errorf("stderr: got %q, %v", got, err)
	}
	a.Close()
	wg.Wait()
}

func TestStderrNobodyReads(t *testing.T) {
	a, b := channelPair(t, mux.Config{Window: 4096, WindowMax: 1}, mux.Config{}, mux.Options{})
	data := make([]byte, 1<<20)
	if _, err := b.Stderr().Write(data); err != nil {
		t.Fatalf("stderr of a channel without one stalls: %v", err)
	}
	io.WriteString(b, "data")
	got := make([]byte, 4)
	if _, err := io.ReadFull(a, got); err != nil || string(got) != "data" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestGlobalRequest(t *testing.T) {
	client, server := pair(t, mux.Config{}, mux.Config{Global: func(name string, data []byte) (bool, []byte) {
		return name == "yes", append([]byte("re:"), data...)
	}})
	ok, data, err := client.Request(t.Context(), "yes", true, []byte("x"))
	if !ok || err != nil || string(data) != "re:x" {
		t.Errorf("got %v, %q, %v", ok, data, err)
	}
	if ok, _, err := client.Request(t.Context(), "no", true, nil); ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
	if ok, _, err := server.Request(t.Context(), "yes", true, nil); ok || err != nil {
		t.Errorf("without a handler: got %v, %v", ok, err)
	}
}

// An answer is dealt with before what lies behind it, and its handler may send.
func TestAskKeepsTheOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
	opened := make(chan struct{}, 1)
	m, peer := hand(t, mux.Config{Open: func(p *mux.Pending) { note("open"); opened <- struct{}{}; p.Reject(1, "") }})
	for range 50 {
		order = nil
		err := m.Ask(t.Context(), "x", nil, func(ok bool, reply []byte, err error) {
			if !ok || string(reply) != "r" || err != nil {
				t.Errorf("answered %v %q, %v", ok, reply, err)
			}
			note("answer")
			m.Tell("y", []byte("z"))
		})
		if err != nil {
			t.Fatal(err)
		}
		want(t, "it asks", peer, new(wire.GlobalRequest))
		send(t, peer, &wire.RequestSuccess{Data: []byte("r")}, &wire.ChannelOpen{Type: "x", InitialWindow: 1, MaxPacket: 1})
		if g := want(t, "it tells", peer, new(wire.GlobalRequest)); g.Type != "y" || g.WantReply || string(g.Data) != "z" {
			t.Errorf("told %+v", g)
		}
		<-opened
		want(t, "the open is refused", peer, new(wire.ChannelOpenFailure))
		if len(order) != 2 || order[0] != "answer" {
			t.Fatalf("order %v", order)
		}
	}
}

// Who asks hears of the connection's end, once.
func TestAskConnectionEnds(t *testing.T) {
	m, peer := hand(t, mux.Config{})
	answers := make(chan error, 10)
	for range 3 {
		if err := m.Ask(t.Context(), "x", nil, func(_ bool, _ []byte, err error) { answers <- err }); err != nil {
			t.Fatal(err)
		}
	}
	peer.Abort(wire.DisconnectByApplication, "bye")
	for range 3 {
		if err := <-answers; err == nil || err.Error() != m.Err().Error() {
			t.Errorf("got %v, want %v", err, m.Err())
		}
	}
	if err := m.Ask(t.Context(), "x", nil, func(bool, []byte, error) { t.Error("called after an error") }); err == nil {
		t.Error("asked on a connection that has ended")
	}
	m.Close()
	if len(answers) != 0 {
		t.Error("answered twice")
	}
}
