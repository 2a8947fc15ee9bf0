package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// inject sends payloads under the real keys at once, whatever phase it is.
func inject(peer *Conn, payloads ...[]byte) {
	for _, p := range payloads {
		peer.out.queueKex(kexMsg{payload: p})
	}
	peer.out.kick()
}

// wantRefused checks that our end ends with text in its error, and with a
// DISCONNECT of that reason; 0 is for none.
func wantRefused(t *testing.T, c, peer *Conn, reason uint32, text string) {
	t.Helper()
	var wg sync.WaitGroup
	var got uint32
	wg.Go(func() { got = lastReason(peer) })
	var err error
	for err == nil {
		_, err = c.ReadPacket()
	}
	wg.Wait()
	if !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %q in it", err, text)
	}
	if got != reason {
		t.Errorf("the peer got DISCONNECT %d, want %d (%v)", got, reason, err)
	}
}

// lastReason reads packets, and does nothing about them, up to DISCONNECT. It
// returns its reason, or 0 when none comes.
func lastReason(peer *Conn) uint32 {
	for {
		p, err := peer.in.next(false)
		if err != nil {
			return 0
		}
		var m wire.Disconnect
		if wire.Parse(p, &m) == nil {
			return m.Reason
		}
	}
}

// TestArmedPeer: rules hold for a peer that has logged in as well.
func TestArmedPeer(t *testing.T) {
	msg := func(m wire.Msg) []byte { return m.Append(nil) }
	kexInit := msg((&Config{}).kexInit(false))
	data := msg(&wire.ChannelData{Data: make([]byte, 32<<10)})
	for _, c := range []struct {
		name   string
		attack func(peer *Conn)
		reason uint32
		want   string
	}{
		{"packet over the limit", func(p *Conn) { inject(p, make([]byte, algo.MaxPacketLength)) }, 2, "packet length"},
		{"empty payload", func(p *Conn) { inject(p, nil) }, 2, "padding"},
		{"NEWKEYS", func(p *Conn) { inject(p, msg(&wire.NewKeys{})) }, 2, "NEWKEYS outside"},
		{"share", func(p *Conn) { inject(p, msg(&wire.KexShareInit{Share: make([]byte, 32)})) }, 2, "outside a key exchange"},
		{"malformed KEXINIT", func(p *Conn) { inject(p, kexInit[:100]) }, 2, "KEXINIT"},
		{"absurd name-list", func(p *Conn) {
			m := (&Config{}).kexInit(false)
			m.MACServer = []string{strings.Repeat("x", 100000)}
			inject(p, msg(m))
		}, 2, "name-list"},
		{"two KEXINITs", func(p *Conn) { inject(p, kexInit, kexInit) }, 2, "KEXINIT where"},
		{"NEWKEYS without the exchange", func(p *Conn) { inject(p, kexInit, msg(&wire.NewKeys{})) }, 2, "NEWKEYS where"},
		{"service request in an exchange", func(p *Conn) { inject(p, kexInit, msg(&wire.ServiceRequest{Service: "x"})) }, 2, "SERVICE_REQUEST during a key exchange"},
		{"PING in an exchange", func(p *Conn) { inject(p, kexInit, msg(&wire.Ping{})) }, 2, "during a key exchange"},
		{"flood of DEBUG in an exchange", func(p *Conn) {
			inject(p, kexInit)
			for range maxKexIgnored + 1 {
				inject(p, msg(&wire.Debug{}))
			}
		}, 2, "without meaning"},
		{"flood of data in an exchange", func(p *Conn) {
			inject(p, kexInit)
			for range maxLate/len(data) + 1 {
				inject(p, data)
			}
		}, 2, "other messages during a key exchange"},
		{"flood of small messages in an exchange", func(p *Conn) {
			inject(p, kexInit)
			inject(p, slices.Repeat([][]byte{{wire.NumRequestFailure}}, maxLate/lateCost+1)...)
		}, 2, "other messages during a key exchange"},
		{"malformed EXT_INFO", func(p *Conn) { inject(p, []byte{wire.NumExtInfo, 255, 255, 255, 255}) }, 2, "EXT_INFO"},
		{"malformed PING", func(p *Conn) { inject(p, []byte{wire.NumPing, 1}) }, 2, "PING"},
		{"malformed PONG", func(p *Conn) { inject(p, []byte{wire.NumPong, 1}) }, 2, "PONG"},
		{"malformed DISCONNECT", func(p *Conn) { inject(p, []byte{wire.NumDisconnect, 1}) }, 2, "DISCONNECT"},
		{"other algorithms", func(p *Conn) {
			p.cfg.Ciphers = []string{"rot13"}
			p.Rekey()
		}, 3, "cipher"},
		{"DISCONNECT", func(p *Conn) { inject(p, msg(&wire.Disconnect{Reason: 11, Description: "bye"})) }, 0, "bye"},
	} {
		for _, role := range []string{"server", "client"} {
			t.Run(c.name+"/"+role, func(t *testing.T) {
				a, b := tcpPipe(t)
				local, peer := connect(t, a, b, Config{}, Config{})
				if role == "client" {
					local, peer = peer, local
				}
				c.attack(peer)
				wantRefused(t, local, peer, c.reason, c.want)
			})
		}
	}
}

// TestHostKeyChanges: a server must show the same key in later exchanges.
func TestHostKeyChanges(t *testing.T) {
	a, b := tcpPipe(t)
	c, s := connect(t, a, b, Config{}, Config{})
	s.cfg.HostKeys = []gossh.Signer{testSigner(t)}
	s.Rekey()
	var wg sync.WaitGroup
	var serr error
	wg.Go(func() { _, serr = s.ReadPacket() })
	_, err := c.ReadPacket()
	if _, ok := errors.AsType[*HostKeyError](err); !ok || !strings.Contains(err.Error(), "another key") {
		t.Errorf("got %v, want HostKeyError", err)
	}
	wg.Wait()
	if d, ok := errors.AsType[*DisconnectError](serr); !ok || d.Reason != wire.DisconnectHostKeyNotVerifiable {
		t.Errorf("the server got %v, want DISCONNECT %d", serr, wire.DisconnectHostKeyNotVerifiable)
	}
}

// TestChangedPacket changes a byte of a packet under each cipher and MAC.
func TestChangedPacket(t *testing.T) {
	for _, cipher := range algo.DefaultCiphers() {
		macs := algo.DefaultMACs()
		if isAEAD(cipher) {
			macs = []string{""}
		}
		for _, mac := range macs {
			for _, c := range []struct {
				what   string
				at     func(packet int) int // bytes from the packet's beginning
				reason uint32
			}{
				// The length is 2^24 off, so it shows before the tag does.
				{"length", func(int) int { return 0 }, wire.DisconnectProtocolError},
				{"padding length", func(int) int { return 4 }, wire.DisconnectMACError},
				{"payload", func(n int) int { return n / 2 }, wire.DisconnectMACError},
				{"tag", func(n int) int { return n - 1 }, wire.DisconnectMACError},
			} {
				t.Run(cipher+" "+mac+"/"+c.what, func(t *testing.T) {
					a, b := testnet.Pipe(testnet.Options{})
					cfg := Config{Kex: []string{"curve25519-sha256"}, Ciphers: []string{cipher}}
					if mac != "" {
						cfg.MACs = []string{mac}
					}
					peer, local := connect(t, &flipConn{Conn: a, at: c.at}, b, cfg, cfg)
					peer.out.sock.(connSocket).nc.(*flipConn).on.Store(true)
					inject(peer, (&wire.GlobalRequest{Type: "x", Data: make([]byte, 100)}).Append(nil))
					wantRefused(t, local, peer, c.reason, "packet")
				})
			}
		}
	}
}

// flipConn changes a byte of each write.
type flipConn struct {
	net.Conn
	on atomic.Bool
	at func(n int) int
}

func (c *flipConn) Write(b []byte) (int, error) {
	if c.on.Load() {
		b = bytes.Clone(b)
		b[c.at(len(b))] ^= 1
	}
	return c.Conn.Write(b)
}

// TestPingFlood: a peer that asks for answers and does not read them is given
// up, before they take much memory.
func TestPingFlood(t *testing.T) {
	a, b := testnet.Pipe(testnet.Options{})
	peer, local := connect(t, a, b, Config{}, Config{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ping := (&wire.Ping{Data: make([]byte, 30000)}).Append(nil)
		for peer.WritePacket(ping, nil) == nil {
		}
	})
	_, err := local.ReadPacket()
	wantBounded(t, local)
	if err == nil || !strings.Contains(err.Error(), "without reading") {
		t.Errorf("got %v, want that the peer does not read", err)
	}
	peer.fail(io.ErrClosedPipe)
	wg.Wait()
}

// seen is a tracer that keeps packets.
type seen chan trace.Packet

func (seen) Level() trace.Level { return trace.LevelPacket }

func (s seen) Trace(_ time.Time, e trace.Event) {
	if p, ok := e.(trace.Packet); ok {
		s <- p
	}
}

// TestLateUnimplemented: a message that came during a key exchange is answered
// by its own number, not by that of the last packet.
func TestLateUnimplemented(t *testing.T) {
	packets := make(seen, 100)
	a, b := tcpPipe(t)
	peer, local := connect(t, a, b, Config{Tracer: packets}, Config{})
	peer.Rekey()
	inject(peer, []byte{127})
	var wg sync.WaitGroup
	wg.Go(func() {
		for err := error(nil); err == nil; {
			_, err = peer.ReadPacket()
		}
	})
	defer wg.Wait()
	defer peer.Close()
	if p, err := local.ReadPacket(); err != nil || p[0] != 127 {
		t.Fatalf("got %v, %v, want message 127", p, err)
	}
	if err := local.Unimplemented(); err != nil {
		t.Fatal(err)
	}
	var sent uint32
	for p := range packets {
		if p.Out && p.Num == 127 {
			sent = p.Seq
		}
		if m, ok := p.Msg.(*wire.Unimplemented); ok {
			if m.Seq != sent {
				t.Errorf("packet %d is said to be unknown, want %d", m.Seq, sent)
			}
			return
		}
	}
}
