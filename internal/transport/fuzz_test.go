package transport

import (
	"bytes"
	"crypto/ed25519"
	"io"
	mrand "math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// cheap is how many of the transcripts have a key exchange that is cheap enough
// to be run thousands of times. They stand first.
const cheap = 5

// transcriptConfig returns the Config with which transcript i was recorded.
func transcriptConfig(i int) *Config {
	c := transcripts[i]
	cfg := &Config{Kex: []string{c.kex}, Ciphers: []string{c.cipher}, HostKeyAlgorithms: []string{"ssh-ed25519"},
		CheckHostKey: accept, Rand: mrand.NewChaCha8([32]byte{byte(i)})}
	if c.mac != "" {
		cfg.MACs = []string{c.mac}
	}
	return cfg
}

func transcriptFile(i int) string {
	c := transcripts[i]
	name := strings.NewReplacer("@", "_", " ", "_").Replace(c.kex + "." + c.cipher)
	return filepath.Join("testdata", "transcripts", name+".txt")
}

// fixedSigner is the same at each run: a fuzz target repeats itself exactly.
func fixedSigner(t testing.TB) gossh.Signer {
	t.Helper()
	s, err := gossh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// everything is a tracer that has each event written out, to nowhere.
func everything() trace.Tracer { return trace.NewText(io.Discard, trace.LevelData) }

// streamConn gives fixed bytes and then the end. What is written is dropped.
type streamConn struct {
	replayConn // its addresses and deadlines
	in         []byte
}

func (c *streamConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *streamConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *streamConn) Close() error                { return nil }

// wantBounded checks what a peer can make us keep.
func wantBounded(t *testing.T, c *Conn) {
	t.Helper()
	if n := len(c.in.buf); n > 2*maxReadBuffer {
		t.Errorf("the read buffer has %d bytes", n)
	}
	if n := len(c.out.small); n > smallLaneCap+queueCap {
		t.Errorf("the small lane has %d bytes", n)
	}
	if c.lateLen > maxLate {
		t.Errorf("%d bytes wait for the end of a key exchange", c.lateLen)
	}
}

// readAll reads payloads until the connection's end.
func readAll(t *testing.T, c *Conn) (payloads [][]byte) {
	t.Helper()
	for {
		p, err := c.ReadPacket()
		if err != nil {
			wantBounded(t, c)
			return payloads
		}
		payloads = append(payloads, slices.Clone(p))
	}
}

// FuzzServerBytes changes what a server sent in a recorded connection. The
// client must refuse it, or have got the session and the messages that were
// recorded, as far as they go.
func FuzzServerBytes(f *testing.F) {
	run := func(t *testing.T, i int, server []byte, tr trace.Tracer) (sessionID []byte, payloads [][]byte) {
		cfg := transcriptConfig(i)
		cfg.Tracer = tr
		c, err := Client(t.Context(), &streamConn{in: server}, cfg)
		if err != nil {
			return nil, nil
		}
		defer c.Close()
		return c.SessionID(), readAll(t, c)
	}
	var recorded [cheap][]byte
	for i := range recorded {
		chunks, _ := readTranscript(f, transcriptFile(i))
		for _, c := range chunks {
			recorded[i] = append(recorded[i], c.data...)
		}
		f.Add(uint8(i), recorded[i])
	}
	f.Add(uint8(0), []byte("SSH-2.0-x\r\n\x00\x00\x00\x0c\x06\x14"))
	f.Fuzz(func(t *testing.T, which uint8, server []byte) {
		i := int(which) % cheap
		id, payloads := run(t, i, server, everything())
		if id == nil {
			return
		}
		wantID, wantPayloads := run(t, i, recorded[i], nil)
		if !bytes.Equal(id, wantID) || len(wantPayloads) != 2 {
			t.Fatalf("session id %x, want %x of the recorded one with %d messages", id, wantID, len(wantPayloads))
		}
		if n := len(payloads); n > len(wantPayloads) || !slices.EqualFunc(payloads, wantPayloads[:n], bytes.Equal) {
			t.Fatalf("messages %q, want a beginning of %q", payloads, wantPayloads)
		}
	})
}

// FuzzClientBytes gives a server arbitrary bytes. Their sender has no keys, so
// no message may come of them.
func FuzzClientBytes(f *testing.F) {
	for i := range cheap {
		_, client := readTranscript(f, transcriptFile(i))
		f.Add(client)
	}
	slot := make([]byte, 4096)
	hello := []byte("SSH-2.0-x\r\n")
	for seq, m := range []wire.Msg{new(rawPeer).kexInit(false, false), &wire.Ignore{Data: []byte("x")}, &wire.KexShareInit{Share: bytes.Repeat([]byte{9}, 32)}, &wire.NewKeys{}} {
		p := m.Append(nil)
		copy(slot[5:], p)
		hello = append(hello, algo.Plain().Seal(uint32(seq), slot, len(p), bytes.NewReader(make([]byte, 64)))...)
	}
	f.Add(hello)
	key := fixedSigner(f)
	f.Fuzz(func(t *testing.T, client []byte) {
		cfg := &Config{HostKeys: []gossh.Signer{key}, Kex: algo.DefaultKex()[:4], Rand: mrand.NewChaCha8([32]byte{}), Tracer: everything()}
		c, err := Server(t.Context(), &streamConn{in: client}, cfg)
		if err != nil {
			return
		}
		if p := readAll(t, c); len(p) > 0 {
			t.Fatalf("got %q from a peer without keys", p)
		}
		c.Close()
	})
}
