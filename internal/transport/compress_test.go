package transport

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/packet"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// zlibFirst is the compression of -C.
var zlibFirst = []string{algo.CompressionDelayed, "none"}

// loggedIn takes both halves past the login.
func loggedIn(t testing.TB, c, s *Conn) {
	t.Helper()
	for _, step := range []struct {
		from, to *Conn
		m        wire.Msg
	}{
		{c, s, &wire.ServiceRequest{Service: wire.ServiceUserauth}},
		{s, c, &wire.ServiceAccept{Service: wire.ServiceUserauth}},
		{c, s, &wire.UserauthRequest{User: "x", Service: wire.ServiceConnection, Method: wire.MethodNone}},
		{s, c, &wire.UserauthSuccess{}},
	} {
		if err := step.from.WritePacket(step.m.Append(nil), nil); err != nil {
			t.Fatal(err)
		}
		if p, err := step.to.ReadPacket(); err != nil || p[0] != step.m.Num() {
			t.Fatalf("got %v, %v, want message %d", p, err, step.m.Num())
		}
	}
}

// zlibPair are both halves, with compression agreed on and the login done.
func zlibPair(t testing.TB, cc, sc Config) (c, s *Conn) {
	t.Helper()
	cc.Compression = zlibFirst
	a, b := tcpPipe(t)
	c, s = connect(t, a, b, cc, sc)
	for _, alg := range []Algorithms{c.Algorithms(), s.Algorithms()} {
		if alg.Client.Compression != algo.CompressionDelayed || alg.Server.Compression != algo.CompressionDelayed {
			t.Fatalf("compression is %q and %q, want zlib@openssh.com", alg.Client.Compression, alg.Server.Compression)
		}
	}
	if c.out.deflate != nil || c.in.inflate != nil {
		t.Fatal("compression before the login")
	}
	loggedIn(t, c, s)
	return c, s
}

// saved returns how many bytes a half has sent, and as how many.
func saved(c *Conn) (raw, compressed uint64) {
	return c.out.tally.raw.Load(), c.out.tally.compressed.Load()
}

// Without -C nothing is compressed, and a server that refuses refuses.
func TestNoCompression(t *testing.T) {
	for _, tt := range []struct{ client, server []string }{{nil, nil}, {zlibFirst, []string{"none"}}, {[]string{"none"}, nil}} {
		a, b := tcpPipe(t)
		c, s := connect(t, a, b, Config{Compression: tt.client}, Config{Compression: tt.server})
		loggedIn(t, c, s)
		echo(t, c, s)
		if raw, _ := saved(c); raw > 0 || c.Algorithms().Client.Compression != "none" || c.in.inflate != nil {
			t.Errorf("client %q, server %q: compressed", tt.client, tt.server)
		}
	}
}

// lines sends numbered lines on a channel, in batches, and small messages between
// them from others; the receiver checks that each comes whole and in order.
func TestCompressedOrder(t *testing.T) {
	for _, rekey := range []uint64{0, 100 << 10} {
		t.Run(fmt.Sprintf("rekey %d", rekey), func(t *testing.T) {
			c, s := zlibPair(t, Config{RekeyBytes: rekey}, Config{RekeyBytes: rekey})
			var both, readers sync.WaitGroup
			for _, d := range []struct{ from, to *Conn }{{c, s}, {s, c}} {
				both.Add(1)
				readers.Go(func() {
					numbered(t, d.from, d.to)
					both.Done()
					for { // the other's key exchanges need it
						if _, err := d.to.ReadPacket(); err != nil {
							return
						}
					}
				})
			}
			both.Wait()
			c.Close()
			s.Close()
			readers.Wait()
			for _, side := range []*Conn{c, s} {
				if raw, compressed := saved(side); raw < 1<<20 || compressed > raw/2 {
					t.Errorf("%d bytes were sent as %d, want 1 MiB at least, and half of it at most", raw, compressed)
				}
			}
		})
	}
}

// numbered sends three streams at once: batches of text on channel 7, and small
// messages with a number from two goroutines.
func numbered(t *testing.T, from, to *Conn) {
	const senders, messages, size = 2, 500, 1 << 20
	var wg sync.WaitGroup
	defer wg.Wait()
	sent, got := sha256.New(), sha256.New()
	wg.Go(func() {
		var text bytes.Buffer
		for n := 0; n < size; {
			b := from.NewBatch(packet.MaxData)
			text.Reset()
			for i := n; text.Len() < min(size-n, b.Slots()*packet.MaxData); i += 11 {
				fmt.Fprintf(&text, "line %d of %x\n", i, i*i)
			}
			total := min(text.Len(), size-n, b.Slots()*packet.MaxData)
			for i, rest := 0, text.Bytes()[:total]; len(rest) > 0; i++ {
				rest = rest[copy(b.Data(i), rest):]
			}
			sent.Write(text.Bytes()[:total])
			n += total
			b.Fill(7, total)
			if err := from.WriteBatch(b, nil); err != nil {
				t.Errorf("write batch: %v", err)
				return
			}
		}
	})
	for sender := range senders {
		wg.Go(func() {
			for i := range messages {
				m := wire.GlobalRequest{Type: fmt.Sprint(sender), Data: binary.BigEndian.AppendUint32(nil, uint32(i))}
				if err := from.WritePacket(m.Append(nil), nil); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	var next [senders]int
	for have := 0; have < size || next[0] < messages || next[1] < messages; {
		p, err := to.ReadPacket()
		if err != nil {
			t.Errorf("after %d bytes and %d messages: %v", have, next, err)
			return
		}
		if id, data, ok := wire.ParseChannelData(p); ok && id == 7 {
			got.Write(data)
			have += len(data)
			continue
		}
		var m wire.GlobalRequest
		if err := wire.Parse(p, &m); err != nil {
			t.Errorf("got %x: %v", p, err)
			return
		}
		who := int(m.Type[0] - '0')
		if n := int(binary.BigEndian.Uint32(m.Data)); n != next[who] {
			t.Errorf("sender %d: message %d where %d is due", who, n, next[who])
			return
		}
		next[who]++
	}
	wg.Wait()
	if !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Error("hashes differ")
	}
}

// The server's success and what it compresses behind it may come in one segment.
func TestCompressedBehindSuccess(t *testing.T) {
	a, b := tcpPipe(t)
	c, s := connect(t, a, b, Config{Compression: zlibFirst}, Config{})
	s.Cork()
	sent := []wire.Msg{&wire.UserauthSuccess{}}
	for i := range 3 {
		sent = append(sent, &wire.GlobalRequest{Type: strings.Repeat("x", 100*i)})
	}
	for _, m := range sent {
		if err := s.WritePacket(m.Append(nil), nil); err != nil {
			t.Fatal(err)
		}
	}
	s.Uncork()
	for i, m := range sent {
		p, err := c.ReadBuffered()
		if i == 0 {
			p, err = c.ReadPacket()
		}
		if err != nil || !bytes.Equal(p, m.Append(nil)) {
			t.Fatalf("message %d: %q, %v", i, p, err)
		}
	}
	if raw, compressed := saved(s); raw == 0 || compressed > raw/2 {
		t.Errorf("%d bytes were sent as %d", raw, compressed)
	}
}

// A key exchange that falls due before the login waits for it: what is on its way
// when the login succeeds can't be told from what comes after.
func TestRekeyWaitsForLogin(t *testing.T) {
	var exchanges [2]counter
	a, b := tcpPipe(t)
	c, s := connect(t, a, b, Config{Compression: zlibFirst, Tracer: &exchanges[0]}, Config{Tracer: &exchanges[1]})
	c.Rekey()
	s.Rekey()
	loggedIn(t, c, s)
	var wg sync.WaitGroup
	for _, side := range []*Conn{c, s} {
		wg.Go(func() {
			for {
				if p, err := side.ReadPacket(); err != nil || p[0] == wire.NumRequestFailure {
					return
				}
			}
		})
	}
	for _, side := range []*Conn{c, s} { // behind the exchange, which comes first
		if err := side.WritePacket([]byte{wire.NumRequestFailure}, nil); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	for i := range exchanges {
		if got := exchanges[i].order(); got != "kex login kex" && got != "kex login kex kex" {
			t.Errorf("side %d: %q, want one exchange before the login, and one or two after", i, got)
		}
	}
}

// counter keeps the order of key exchanges and the login.
type counter struct {
	mu   sync.Mutex
	seen []string
}

func (*counter) Level() trace.Level { return trace.LevelPacket }

func (c *counter) order() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.seen, " ")
}

func (c *counter) Trace(_ time.Time, e trace.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := e.(type) {
	case trace.KexDone:
		c.seen = append(c.seen, "kex")
	case trace.Packet:
		if e.Num == wire.NumUserauthSuccess {
			c.seen = append(c.seen, "login")
		}
	}
}

// Faults of a peer that compresses.
func TestCompressedHostile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		attack func(peer *Conn)
		reason uint32
		want   string
	}{
		{"not compressed", plainly((&wire.GlobalRequest{Type: "x"}).Append(nil)), wire.DisconnectCompressionError, "corrupt compressed data"},
		{"a bomb", func(peer *Conn) { inject(peer, make([]byte, 1<<20)) }, wire.DisconnectCompressionError, "more than a packet may hold"},
		{"the stream's end", plainly([]byte{3, 0, 0}), wire.DisconnectCompressionError, "has ended"},
		{"nothing", func(peer *Conn) { inject(peer, nil) }, wire.DisconnectProtocolError, "no payload"},
		{"half a block's head", plainly([]byte{0}), wire.DisconnectProtocolError, "no payload"},
	} {
		for _, role := range []string{"server", "client"} {
			t.Run(tt.name+"/"+role, func(t *testing.T) {
				c, s := zlibPair(t, Config{}, Config{})
				local, peer := c, s
				if role == "server" {
					local, peer = s, c
				}
				tt.attack(peer)
				wantRefused(t, local, peer, tt.reason, tt.want)
			})
		}
	}
}

// plainly sends a payload as it is, where the next piece of a stream is due.
func plainly(payload []byte) func(peer *Conn) {
	return func(peer *Conn) {
		cipher := *peer.out.current.Load()
		peer.out.queueKex(kexMsg{payload: (&wire.Ignore{}).Append(nil), next: cipher}, kexMsg{payload: payload})
		peer.out.kick()
	}
}

// What packets of one read expand to is handed out in parts, and stays as it is as
// long as it may be looked at.
func TestExpandedIsBounded(t *testing.T) {
	c, s := zlibPair(t, Config{}, Config{})
	const packets = 100
	big := bytes.Repeat([]byte("0123456789abcdef"), 2048)
	s.Cork()
	for i := range packets {
		m := wire.ChannelData{RecipientChannel: uint32(i), Data: big}
		if err := s.QueuePacket(m.Append(nil)); err == errOverflow {
			t.Fatal("the lane is too small for this test")
		}
		if i%30 == 29 {
			s.Uncork()
			s.Cork()
		}
	}
	s.Uncork()
	for seen := 0; seen < packets; {
		p, err := c.ReadPacket()
		var held [][]byte
		for ; p != nil && err == nil; p, err = c.ReadBuffered() {
			held = append(held, p)
		}
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, p := range held {
			total += len(p)
			if id, data, ok := wire.ParseChannelData(p); !ok || int(id) != seen || !bytes.Equal(data, big) {
				t.Fatalf("packet %d is another than what was sent", seen)
			}
			seen++
		}
		if total > heldCap+algo.MaxPacketLength {
			t.Errorf("%d bytes are held at once", total)
		}
	}
}

// Data that does not compress gets through, in packets as large as may be.
func TestCompressedRandom(t *testing.T) {
	c, s := zlibPair(t, Config{}, Config{})
	transfer(t, c, s, 1<<20)
	transfer(t, s, c, 1<<20)
	if raw, compressed := saved(c); compressed < raw || compressed > raw+raw/100 {
		t.Errorf("%d random bytes were sent as %d", raw, compressed)
	}
}

// The negotiation is per direction.
func TestNegotiateCompression(t *testing.T) {
	client, server := (&Config{Compression: zlibFirst}).kexInit(false), (&Config{}).kexInit(true)
	server.HostKey = slices.Clone(client.HostKey)
	client.CompressionClient = []string{"zlib", "none"}
	a, err := negotiate(client, server, false)
	if err != nil || a.Client.Compression != "none" || a.Server.Compression != algo.CompressionDelayed {
		t.Errorf("got %q and %q, %v, want none and zlib@openssh.com", a.Client.Compression, a.Server.Compression, err)
	}
	server.CompressionServer = []string{"zlib"}
	if _, err := negotiate(client, server, false); err == nil || !strings.Contains(err.Error(), "compression (server to client)") {
		t.Errorf("a server with plain zlib only: %v, want that there is none in common", err)
	}
}
