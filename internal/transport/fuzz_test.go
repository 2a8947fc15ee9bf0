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
	split      int // no read goes past this place in the bytes
}

func (c *streamConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	have := c.in
	if c.split > 0 && c.split < len(have) {
		have = have[:c.split]
	}
	n := copy(p, have)
	c.in = c.in[n:]
	c.split -= n
	return n, nil
}

func (c *streamConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *streamConn) Close() error                { return nil }

// wantBounded checks what a peer can make us keep.
func wantBounded(t testing.TB, c *Conn) {
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
func readAll(t testing.TB, c *Conn) (payloads [][]byte) {
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
	run := func(t testing.TB, i int, server []byte, split int, tr trace.Tracer) (sessionID []byte, payloads [][]byte) {
		cfg := transcriptConfig(i)
		cfg.Tracer = tr
		c, err := Client(t.Context(), &streamConn{in: server, split: split}, cfg)
		if err != nil {
			return nil, nil
		}
		defer c.Close()
		return c.SessionID(), readAll(t, c)
	}
	var ids [cheap][]byte
	var recorded [cheap][][]byte
	for i := range recorded {
		chunks, _ := readTranscript(f, transcriptFile(i))
		var server []byte
		split := 0 // before SERVICE_ACCEPT and FAILURE, which may not come too early
		for n, c := range chunks {
			if n == len(chunks)-2 {
				split = len(server)
			}
			server = append(server, c.data...)
		}
		if ids[i], recorded[i] = run(f, i, server, split, nil); len(recorded[i]) != 2 {
			f.Fatalf("%s: got %d messages, want SERVICE_ACCEPT and FAILURE", transcriptFile(i), len(recorded[i]))
		}
		f.Add(uint8(i), server, uint16(split))
	}
	f.Fuzz(func(t *testing.T, which uint8, server []byte, split uint16) {
		i := int(which) % cheap
		id, payloads := run(t, i, server, int(split), everything())
		if id == nil {
			return
		}
		if !bytes.Equal(id, ids[i]) {
			t.Fatalf("session id %x, want the recorded one, %x", id, ids[i])
		}
		if n := len(payloads); n > len(recorded[i]) || !slices.EqualFunc(payloads, recorded[i][:n], bytes.Equal) {
			t.Fatalf("messages %q, want a beginning of %q", payloads, recorded[i])
		}
	})
}

// FuzzClientBytes changes what a client sent in a recorded connection, to another
// server. Nobody has the keys of this one, so no message may come of it.
func FuzzClientBytes(f *testing.F) {
	key := fixedSigner(f)
	run := func(t testing.TB, i int, client []byte) (payloads [][]byte, err error) {
		cfg := transcriptConfig(i)
		cfg.HostKeys, cfg.Tracer = []gossh.Signer{key}, everything()
		c, err := Server(t.Context(), &streamConn{in: client}, cfg)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return readAll(t, c), nil
	}
	for i := range cheap {
		_, client := readTranscript(f, transcriptFile(i))
		if _, err := run(f, i, client); err != nil {
			f.Fatalf("%s: %v", transcriptFile(i), err)
		}
		f.Add(uint8(i), client)
	}
	f.Fuzz(func(t *testing.T, which uint8, client []byte) {
		if p, _ := run(t, int(which)%cheap, client); len(p) > 0 {
			t.Fatalf("got %q from a peer without keys", p)
		}
	})
}
