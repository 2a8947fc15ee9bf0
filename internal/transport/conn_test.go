package transport

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
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

func testSigner(t testing.TB) gossh.Signer { return testpeer.NewSigner(t) }

// tcpPipe returns both ends of a loopback TCP connection.
func tcpPipe(t testing.TB) (a, b net.Conn) { return testnet.TCPPipe(t) }

func accept(string, gossh.PublicKey) error { return nil }

// connect runs both halves against each other.
func connect(t testing.TB, a, b net.Conn, cc, sc Config) (client, server *Conn) {
	t.Helper()
	if cc.CheckHostKey == nil {
		cc.CheckHostKey = accept
	}
	if sc.HostKeys == nil {
		sc.HostKeys = []gossh.Signer{testSigner(t)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var serr, cerr error
	wg.Go(func() { server, serr = Server(ctx, b, &sc) })
	client, cerr = Client(ctx, a, &cc)
	wg.Wait()
	if cerr != nil || serr != nil {
		t.Fatalf("handshake: client: %v; server: %v", cerr, serr)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestEveryKexAndCipher(t *testing.T) {
	for _, kex := range algo.DefaultKex() {
		t.Run(kex, func(t *testing.T) {
			a, b := tcpPipe(t)
			c, s := connect(t, a, b, Config{Kex: []string{kex}}, Config{Kex: []string{kex}})
			echo(t, c, s)
			if !bytes.Equal(c.SessionID(), s.SessionID()) {
				t.Error("session ids differ")
			}
		})
	}
	for _, cipher := range algo.DefaultCiphers() {
		for _, mac := range algo.DefaultMACs() {
			t.Run(cipher+"/"+mac, func(t *testing.T) {
				a, b := tcpPipe(t)
				cfg := Config{Kex: []string{"curve25519-sha256"}, Ciphers: []string{cipher}, MACs: []string{mac}}
				c, s := connect(t, a, b, cfg, cfg)
				echo(t, c, s)
				transfer(t, c, s, 3<<20)
			})
		}
	}
}

// echo sends one message each way.
func echo(t *testing.T, c, s *Conn) {
	t.Helper()
	for _, d := range []struct{ from, to *Conn }{{c, s}, {s, c}} {
		m := (&wire.GlobalRequest{Type: "test@example.com", Data: []byte("x")}).Append(nil)
		if err := d.from.WritePacket(m, nil); err != nil {
			t.Fatal(err)
		}
		p, err := d.to.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, m) {
			t.Fatalf("got %q, want %q", p, m)
		}
	}
}

// transfer sends n bytes in batches and compares hashes.
func transfer(t testing.TB, from, to *Conn, n int) {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	sent := sha256.New()
	wg.Go(func() {
		src := io.LimitReader(rand.Reader, int64(n))
		for {
			b := from.NewBatch(packet.MaxData)
			total := 0
			for i := range b.Slots() {
				k, err := io.ReadFull(src, b.Data(i))
				sent.Write(b.Data(i)[:k])
				total += k
				if err != nil {
					break
				}
			}
			if total == 0 {
				b.Release()
				break
			}
			b.Fill(7, total)
			if err := from.WriteBatch(b, nil); err != nil {
				t.Errorf("write batch: %v", err)
				return
			}
		}
	})
	got := sha256.New()
	for have := 0; have < n; {
		p, err := to.ReadPacket()
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v", have, n, err)
		}
		id, data, ok := wire.ParseChannelData(p)
		if !ok || id != 7 {
			t.Fatalf("got message %d", p[0])
		}
		got.Write(data)
		have += len(data)
	}
	wg.Wait()
	if !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Error("hashes differ")
	}
}

// TestRekeyUnderLoad moves data both ways while both sides exchange keys again
// and again.
func TestRekeyUnderLoad(t *testing.T) {
	for name, pipe := range map[string]func(testing.TB) (net.Conn, net.Conn){
		"tcp":  tcpPipe,
		"pipe": func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pipe(t)
			cfg := Config{RekeyBytes: 300 << 10}
			c, s := connect(t, a, b, cfg, cfg)
			first := c.SessionID()
			// A side that has all its data must go on reading: the other's key
			// exchanges need it.
			var both, readers sync.WaitGroup
			run := func(from, to *Conn) {
				transfer(t, from, to, 8<<20)
				both.Done()
				for {
					if _, err := to.ReadPacket(); err != nil {
						return
					}
				}
			}
			both.Add(2)
			readers.Go(func() { run(c, s) })
			readers.Go(func() { run(s, c) })
			both.Wait()
			c.Close()
			s.Close()
			readers.Wait()
			if !bytes.Equal(first, c.SessionID()) {
				t.Error("session id changed with a key exchange")
			}
		})
	}
}

func TestHostKeyRefused(t *testing.T) {
	a, b := tcpPipe(t)
	no := errors.New("not this one")
	var wg sync.WaitGroup
	var serr error
	wg.Go(func() { _, serr = Server(t.Context(), b, &Config{HostKeys: []gossh.Signer{testSigner(t)}}) })
	_, err := Client(t.Context(), a, &Config{CheckHostKey: func(string, gossh.PublicKey) error { return no }})
	wg.Wait()
	if _, ok := errors.AsType[*HostKeyError](err); !ok || !errors.Is(err, no) {
		t.Errorf("client: got %v, want HostKeyError", err)
	}
	d, ok := errors.AsType[*DisconnectError](serr)
	if !ok || !d.ByPeer || d.Reason != wire.DisconnectHostKeyNotVerifiable {
		t.Errorf("server: got %v, want the peer's DISCONNECT %d", serr, wire.DisconnectHostKeyNotVerifiable)
	}
}

func TestNothingInCommon(t *testing.T) {
	a, b := tcpPipe(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		Server(t.Context(), b, &Config{HostKeys: []gossh.Signer{testSigner(t)}, Ciphers: []string{"aes128-ctr"}})
	})
	_, err := Client(t.Context(), a, &Config{CheckHostKey: accept, Ciphers: []string{"aes256-ctr"}})
	wg.Wait()
	if _, ok := errors.AsType[*NegotiationError](err); !ok {
		if d, ok := errors.AsType[*DisconnectError](err); !ok || d.Reason != wire.DisconnectKeyExchangeFailed {
			t.Errorf("got %v, want NegotiationError or DISCONNECT 3", err)
		}
	}
}

func TestCloseDelivers(t *testing.T) {
	a, b := tcpPipe(t)
	c, s := connect(t, a, b, Config{}, Config{})
	m := (&wire.Ignore{}).Append(nil)
	m[0] = wire.NumRequestFailure
	for range 100 {
		if err := c.WritePacket(m, nil); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.Close() })
	for i := range 100 {
		if _, err := s.ReadPacket(); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	_, err := s.ReadPacket()
	if d, ok := errors.AsType[*DisconnectError](err); !ok || !d.ByPeer {
		t.Errorf("got %v, want the peer's DISCONNECT", err)
	}
	wg.Wait()
	if err := c.WritePacket(m, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: got %v, want net.ErrClosed", err)
	}
}

// TestXCrypto runs both halves against golang.org/x/crypto/ssh.
func TestXCrypto(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		a, b := tcpPipe(t)
		cfg := &gossh.ServerConfig{NoClientAuth: true}
		cfg.AddHostKey(testSigner(t))
		var wg sync.WaitGroup
		wg.Go(func() { gossh.NewServerConn(b, cfg) })
		c, err := Client(t.Context(), a, &Config{CheckHostKey: accept})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.WritePacket((&wire.ServiceRequest{Service: wire.ServiceUserauth}).Append(nil), nil); err != nil {
			t.Fatal(err)
		}
		p, err := c.ReadPacket()
		if err != nil || p[0] != wire.NumServiceAccept {
			t.Fatalf("got %v, %v, want SERVICE_ACCEPT", p, err)
		}
		if _, ok := c.PeerExtension("server-sig-algs"); !ok {
			t.Error("server-sig-algs is missing")
		}
		c.Close()
		wg.Wait()
	})
	t.Run("server", func(t *testing.T) {
		a, b := tcpPipe(t)
		var wg sync.WaitGroup
		var cerr error
		wg.Go(func() {
			_, _, _, cerr = gossh.NewClientConn(a, "x", &gossh.ClientConfig{HostKeyCallback: gossh.InsecureIgnoreHostKey()})
		})
		s, err := Server(t.Context(), b, &Config{HostKeys: []gossh.Signer{testSigner(t)}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.ReadPacket()
		if err != nil || p[0] != wire.NumServiceRequest {
			t.Fatalf("got %v, %v, want SERVICE_REQUEST", p, err)
		}
		s.Abort(wire.DisconnectByApplication, "enough")
		wg.Wait()
		if cerr == nil || !bytes.Contains([]byte(cerr.Error()), []byte("enough")) {
			t.Errorf("client: got %v, want our text", cerr)
		}
	})
}

func BenchmarkTransfer(b *testing.B) {
	for _, cipher := range []string{"aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr"} {
		b.Run(cipher, func(b *testing.B) {
			x, y := tcpPipe(b)
			cfg := Config{Ciphers: []string{cipher}}
			c, s := connect(b, x, y, cfg, cfg)
			benchTransfer(b, c, s)
		})
	}
}

// benchTransfer moves b.N full batches from c to s.
func benchTransfer(b *testing.B, c, s *Conn) {
	b.SetBytes(packet.MaxData * packet.MaxSlots)
	b.ReportAllocs()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range b.N {
			bt := c.NewBatch(packet.MaxData)
			bt.Fill(7, bt.Slots()*packet.MaxData)
			if err := c.WriteBatch(bt, nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
	for have := 0; have < b.N*packet.MaxData*packet.MaxSlots; {
		p, err := s.ReadPacket()
		if err != nil {
			b.Fatal(err)
		}
		have += len(p) - wire.ChannelDataHeader
	}
	wg.Wait()
}

// What came with the server's NEWKEYS is known when Client returns.
func TestSettle(t *testing.T) {
	for _, tt := range []struct {
		name string
		msgs []wire.Msg
		ok   bool
	}{
		{"nothing", nil, true},
		{"EXT_INFO", []wire.Msg{&wire.Ignore{}, &wire.ExtInfo{Extensions: []wire.Extension{{Name: "x", Value: []byte("1")}}}, &wire.Debug{}}, true},
		{"too early", []wire.Msg{&wire.UserauthSuccess{}}, false},
		{"much too early", []wire.Msg{&wire.ChannelOpen{Type: "session"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := tcpPipe(t)
			c := newConn(a, &Config{}, false)
			defer c.end(ErrClosed)
			slot := make([]byte, 1024)
			for _, m := range tt.msgs {
				p := m.Append(nil)
				copy(slot[packet.Head:], p)
				c.in.w += copy(c.in.buf[c.in.w:], algo.Plain().Seal(0, slot, len(p), rand.Reader))
			}
			if err := c.settle(); (err == nil) != tt.ok {
				t.Errorf("settle: %v", err)
			}
			if v, ok := c.PeerExtension("x"); ok != (tt.name == "EXT_INFO") || ok && string(v) != "1" {
				t.Errorf("extension is %q, %v", v, ok)
			}
			if p, err := c.ReadBuffered(); p != nil || err != nil {
				t.Errorf("left in the buffer: %v, %v", p, err)
			}
		})
	}
}
