package pcapng

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// blocks takes a file apart, and fails where it is not one.
func blocks(t *testing.T, b []byte) (types []uint32, bodies [][]byte) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 12 {
			t.Fatalf("%d bytes are left over", len(b))
		}
		n := binary.LittleEndian.Uint32(b[4:])
		if n%4 != 0 || n < 12 || int(n) > len(b) || binary.LittleEndian.Uint32(b[n-4:]) != n {
			t.Fatalf("a block of length %d in %d bytes", n, len(b))
		}
		types, bodies = append(types, binary.LittleEndian.Uint32(b)), append(bodies, b[8:n-4])
		b = b[n:]
	}
	return types, bodies
}

// handshake is what a tracer sees of one, in the order in which it sees it: our
// KEXINIT leaves before the peer's version line is there.
func handshake() []trace.Event {
	init := func(c byte) *wire.KexInit {
		return &wire.KexInit{Cookie: [16]byte{c}, Kex: []string{"mlkem768x25519-sha256", "kex-strict-c-v00@openssh.com"}, HostKey: []string{"ssh-ed25519"},
			CipherClient: []string{"chacha20-poly1305@openssh.com"}, CipherServer: []string{"chacha20-poly1305@openssh.com"}}
	}
	return []trace.Event{
		trace.ConnStart{Role: "client", Target: "me@host:2222"},
		trace.ConnUp{Local: "192.0.2.9:4000", Remote: "192.0.2.1:2222"},
		trace.Packet{Out: true, Num: wire.NumKexInit, Msg: init(1)},
		trace.Version{Local: "SSH-2.0-a", Peer: "SSH-2.0-b"},
		trace.Packet{Num: wire.NumKexInit, Msg: init(2)},
		trace.Packet{Out: true, Num: wire.NumKexShareInit, Msg: &wire.KexShareInit{Share: bytes.Repeat([]byte("REAL-SHARE"), 20)}},
		trace.Packet{Num: wire.NumKexShareReply, Msg: &wire.KexShareReply{HostKey: []byte("host key"), Share: []byte("REAL-SHARE"), Signature: []byte("s")}},
		trace.Packet{Out: true, Num: wire.NumNewKeys, Msg: new(wire.NewKeys)},
		trace.Packet{Num: wire.NumNewKeys, Msg: new(wire.NewKeys)},
	}
}

func write(level trace.Level, events []trace.Event) []byte {
	began := time.Unix(1767323045, 0)
	f := new(Format)
	b := f.Begin(nil, trace.Header{Program: "adit test", Began: began, Level: level})
	for i, e := range events {
		b = f.Event(b, 1, began.Add(time.Duration(i)*time.Second), e)
	}
	return f.End(b, 0)
}

func TestBlocks(t *testing.T) {
	long := trace.Packet{Out: true, Num: 94, Msg: &wire.ChannelData{Data: bytes.Repeat([]byte("x"), 150000)}}
	types, bodies := blocks(t, write(trace.LevelData, append(handshake(), long)))
	// Two version lines, two KEXINITs, the secrets, two shares, two NEWKEYS, and
	// three segments of data.
	want := []uint32{blockSection, blockInterface, blockPacket, blockPacket, blockPacket, blockPacket, blockSecrets,
		blockPacket, blockPacket, blockPacket, blockPacket, blockPacket, blockPacket, blockPacket}
	if len(types) != len(want) {
		t.Fatalf("got blocks %v, want %v", types, want)
	}
	for i := range want {
		if types[i] != want[i] {
			t.Errorf("block %d is %#x, want %#x", i, types[i], want[i])
		}
	}
	for i, text := range map[int]string{2: "SSH-2.0-a\r\n", 3: "SSH-2.0-b\r\n"} {
		if !bytes.Contains(bodies[i], []byte(text)) {
			t.Errorf("block %d has no %q", i, text)
		}
	}
	if all := bytes.Join(bodies, nil); bytes.Contains(all, []byte("REAL-SHARE")) || bytes.Contains(all, []byte("kex-strict")) {
		t.Error("the real key exchange is in the capture")
	}
	if !strings.HasPrefix(string(bodies[6][8:]), "01000000000000000000000000000000 ") {
		t.Errorf("secrets %q do not begin with the client's cookie", bodies[6][8:])
	}
}

// What a message says in the capture is what its event says: no secrets, no
// channel data below LevelData, no key exchange inside the connection.
func TestPayload(t *testing.T) {
	const secret = "correct horse"
	s := newSession(1, trace.LevelPacket)
	login := &wire.UserauthRequest{User: "u", Method: wire.MethodPassword, Body: (&wire.PasswordBody{Password: []byte(secret)}).Append(nil)}
	for _, m := range []wire.Msg{login, &wire.UserauthInfoResponse{Answers: []string{secret}}, &wire.ChannelData{Data: []byte(secret)},
		&wire.ChannelExtendedData{Data: []byte(secret)}} {
		if p := s.payload(trace.Packet{Num: m.Num(), Msg: m}); bytes.Contains(p, []byte(secret)) {
			t.Errorf("%s: the secret is in the capture", wire.MsgName(m))
		}
	}
	if p := s.payload(trace.Packet{Num: wire.NumKexInit, Msg: new(wire.KexInit)}); p[0] != wire.NumDebug {
		t.Errorf("a later KEXINIT is message %d, want DEBUG", p[0])
	}
	data := newSession(1, trace.LevelData)
	if p := data.payload(trace.Packet{Num: 94, Msg: &wire.ChannelData{Data: []byte(secret)}}); !bytes.Contains(p, []byte(secret)) {
		t.Error("with LevelData the data is not there")
	}
	for _, m := range []wire.Msg{&wire.ChannelData{Data: []byte(secret)}, &wire.ChannelExtendedData{Data: []byte(secret)}} {
		if p := data.payload(trace.Packet{Num: m.Num(), Msg: m, Withheld: true}); !bytes.Contains(p, []byte("(13 bytes of data)")) {
			t.Errorf("%s that is withheld is %q", wire.MsgName(m), p)
		}
	}
}

// Events in any order, and half a handshake, make no panic and a whole file.
func TestOddOrders(t *testing.T) {
	all := handshake()
	for drop := range all {
		events := append(append([]trace.Event{}, all[:drop]...), all[drop+1:]...)
		events = append(events, trace.Packet{Out: true, Num: 97, Msg: &wire.ChannelClose{}}, trace.Packet{Num: 5, Err: wire.ErrUnknown}, trace.ConnEnd{})
		blocks(t, write(trace.LevelPacket, events))
	}
	for i := range all {
		blocks(t, write(trace.LevelPacket, append(append([]trace.Event{}, all[i:]...), all[:i]...)))
	}
}
