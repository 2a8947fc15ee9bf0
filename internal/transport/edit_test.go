package transport

import (
	"bytes"
	"context"
	mrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// edit is one thing that a peer does which has the real keys and otherwise does
// all as it should.
type edit struct {
	at   uint8 // with which message, as it counts those that it sends; KEXINIT is 0
	what uint8
	data []byte
}

const (
	editInsert = iota // data goes behind it, as a message
	editWrite         // data overwrites its beginning
	editRekey         // a key exchange begins behind it
	editKinds
)

func encodeEdits(edits ...edit) (b []byte) {
	for _, e := range edits {
		b = append(b, e.at, e.what, byte(len(e.data)))
		b = append(b, e.data...)
	}
	return b
}

func decodeEdits(b []byte) (edits []edit) {
	for len(b) >= 3 {
		e := edit{at: b[0], what: b[1] % editKinds}
		n := min(int(b[2]), len(b)-3)
		e.data, b = b[3:3+n], b[3+n:]
		edits = append(edits, e)
	}
	return edits
}

// editor is such a peer.
type editor struct {
	*Conn
	edits []edit
	count int

	mu   sync.Mutex
	sent [][]byte // what was sealed for the layers above; guarded by mu
}

func newEditor(nc net.Conn, cfg *Config, server bool, edits []edit) *editor {
	e := &editor{Conn: newConn(nc, cfg, server), edits: edits}
	e.out.traced = e.sealing
	return e
}

// sealing is called by the holder of the turn with each message before it is
// sealed.
func (e *editor) sealing(_ uint32, p []byte) {
	n := e.count
	e.count++
	// Inserted messages are counted, too, so that edits end.
	for _, ed := range e.edits {
		if int(ed.at) != n {
			continue
		}
		switch ed.what {
		case editInsert:
			e.out.queueKex(kexMsg{payload: ed.data})
		case editWrite:
			copy(p, ed.data)
		case editRekey:
			e.beginExchange()
		}
	}
	if len(p) > 0 && known(p[0]) {
		e.mu.Lock()
		e.sent = append(e.sent, slices.Clone(p))
		e.mu.Unlock()
	}
}

// known reports whether a message is for the layers above. Unknown ones may be
// answered by either layer.
func known(num byte) bool { return above(num) && num <= wire.NumChannelFailure }

// editorIdle is after how long the peer goes, when nothing else ended the
// connection. It is much longer than any time limit of ours.
const editorIdle = time.Hour

// run is the peer's side of the conversation: login messages, a key exchange in
// the middle, and the end when nothing more comes.
func (e *editor) run() {
	defer e.end(ErrClosed)
	if e.firstExchange(context.Background()) != nil {
		return
	}
	end := time.AfterFunc(editorIdle, func() { e.fail(ErrClosed) })
	defer end.Stop()
	if e.server {
		if _, err := e.ReadPacket(); err != nil {
			return
		}
	}
	for i := range 6 {
		if i == 3 {
			e.Rekey()
		}
		m := wire.GlobalRequest{Type: "x", Data: []byte{byte(i)}}
		if e.WritePacket(m.Append(nil), nil) != nil {
			return
		}
	}
	for {
		if _, err := e.ReadPacket(); err != nil {
			return
		}
	}
}

// FuzzEdits runs a half against a peer that breaks rules with the right keys, in
// any phase: before and in the first key exchange, after it, and in another. It
// must end in a bounded (fake) time, leave no goroutine, and hand up nothing but
// what was sent, in order.
func FuzzEdits(f *testing.F) {
	kex := (&Config{}).kexInit(false).Append(nil)
	msgs := [][]byte{
		{}, {wire.NumNewKeys}, {wire.NumKexInit}, {127}, {wire.NumChannelOpen, 1}, kex,
		(&wire.Ignore{Data: []byte("x")}).Append(nil),
		(&wire.Disconnect{Reason: 2, Description: "x"}).Append(nil),
		(&wire.KexShareInit{Share: bytes.Repeat([]byte{9}, 32)}).Append(nil),
		(&wire.ExtInfo{Extensions: []wire.Extension{{Name: "x"}}}).Append(nil),
		(&wire.Ping{Data: []byte("x")}).Append(nil),
		(&wire.ChannelData{Data: []byte("x")}).Append(nil),
	}
	for _, server := range []bool{false, true} {
		f.Add(server, uint8(0), uint16(0), []byte(nil))
		f.Add(server, uint8(1), uint16(2000), []byte(nil))
		for at := range uint8(12) { // a message that is left out, and one more exchange
			f.Add(server, uint8(0), uint16(0), encodeEdits(edit{at, editWrite, []byte{wire.NumIgnore}}))
			f.Add(server, uint8(0), uint16(0), encodeEdits(edit{at, editRekey, nil}))
		}
		for i, m := range msgs {
			for at := range uint8(12) {
				f.Add(server, uint8(i), uint16(0), encodeEdits(edit{at, editInsert, m[:min(len(m), 255)]}))
			}
		}
	}
	key := fixedSigner(f)
	ciphers := []string{"aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr"}
	f.Fuzz(func(t *testing.T, server bool, cipher uint8, corrupt uint16, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{Kex: []string{"curve25519-sha256"}, Ciphers: ciphers[int(cipher)%3:][:1], HostKeyAlgorithms: []string{"ssh-ed25519"},
				CheckHostKey: accept, HostKeys: []gossh.Signer{key}, Extensions: []wire.Extension{{Name: "x"}}}
			local, peer := cfg, cfg
			local.Rand, local.Tracer = mrand.NewChaCha8([32]byte{1}), everything()
			peer.Rand = mrand.NewChaCha8([32]byte{2})
			a, b := testnet.Pipe(testnet.Options{})
			if corrupt > 0 { // a byte of what the peer sends
				b.CorruptAt(int64(corrupt))
			}
			e := newEditor(b, &peer, !server, decodeEdits(script))
			var wg sync.WaitGroup
			wg.Go(e.run)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			got := talkToEditor(ctx, t, a, &local, server)
			wg.Wait()
			got = slices.DeleteFunc(got, func(p []byte) bool { return !known(p[0]) })
			if n := len(got); n > len(e.sent) || !slices.EqualFunc(got, e.sent[:n], bytes.Equal) {
				t.Fatalf("got messages %q, want a beginning of %q", got, e.sent)
			}
			if len(script) == 0 && corrupt == 0 && len(got) != len(e.sent) {
				t.Fatalf("got %d messages without an edit, want %d", len(got), len(e.sent))
			}
		})
	})
}

// talkToEditor is the half under test. It returns what came for the layers above.
func talkToEditor(ctx context.Context, t *testing.T, nc net.Conn, cfg *Config, server bool) [][]byte {
	open := Client
	if server {
		open = Server
	}
	c, err := open(ctx, nc, cfg)
	if err != nil {
		return nil
	}
	defer c.Close()
	if !server {
		if err := c.WritePacket((&wire.ServiceRequest{Service: wire.ServiceUserauth}).Append(nil), nil); err != nil {
			return nil
		}
	}
	began, got := time.Now(), readAll(t, c)
	c.kexMu.Lock()
	defer c.kexMu.Unlock()
	if c.localInit != nil && time.Since(began) > editorIdle/2 {
		t.Error("a key exchange stays open as long as the connection")
	}
	return got
}
