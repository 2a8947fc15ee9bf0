package interop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/bastion"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/trace"
)

// textSize is how much text goes each way, in bytes.
const textSize = 4 << 20

// zlibRekeyAt is after how many compressed bytes either side asks for new keys.
const zlibRekeyAt = 100 << 10

// zlibRecorder is a recorder that keeps what was compressed.
type zlibRecorder struct {
	*recorder

	keep    sync.Mutex
	last    trace.KexDone    // guarded by keep
	begun   int              // guarded by keep: compressed streams
	summary trace.Compressed // guarded by keep
}

func newZlibRecorder() *zlibRecorder { return &zlibRecorder{recorder: newRecorder()} }

func (r *zlibRecorder) Trace(at time.Time, e trace.Event) {
	r.keep.Lock()
	switch e := e.(type) {
	case trace.KexDone:
		r.last = e
	case trace.Compressing:
		r.begun++
	case trace.Compressed:
		r.summary = e
	}
	r.keep.Unlock()
	r.recorder.Trace(at, e)
}

// check is after the connection's end.
func (r *zlibRecorder) check(t *testing.T, compression string) {
	t.Helper()
	r.keep.Lock()
	defer r.keep.Unlock()
	t.Logf("%d streams in %d key exchanges: %+v", r.begun, r.rekeys(), r.summary)
	if r.last.CompressionOut != compression || r.last.CompressionIn != compression {
		t.Errorf("compression is %q and %q, want %q", r.last.CompressionOut, r.last.CompressionIn, compression)
	}
	if compression == "none" {
		if r.begun > 0 || r.summary != (trace.Compressed{}) {
			t.Error("something was compressed")
		}
		return
	}
	if r.begun < r.rekeys() {
		t.Errorf("%d compressed streams in %d key exchanges after the first, want one in each", r.begun, r.rekeys())
	}
	for way, n := range map[string][2]uint64{"out": {r.summary.RawOut, r.summary.CompressedOut}, "in": {r.summary.RawIn, r.summary.CompressedIn}} {
		if n[0] < textSize || n[1] > n[0]/2 || n[1] == 0 {
			t.Errorf("%s: %d bytes as %d, want %d at least, and half of it at most", way, n[0], n[1], textSize)
		}
	}
}

// echoText sends textSize bytes of text to an echo, and has them back, with their
// hash. Half-closing is other tests' matter: libssh's client loses data by it.
func echoText(s testpeer.Stream) error { return echoed(s, textSize, 1) }

// echoed is echoText for size bytes; each seed has other lines.
func echoed(s testpeer.Stream, size int64, seed int) error {
	sent, got := sha256.New(), sha256.New()
	var werr error
	var wg sync.WaitGroup
	wg.Go(func() {
		r, w := io.Pipe()
		defer r.Close()
		wg.Go(func() {
			b := bufio.NewWriterSize(w, 16<<10)
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(b, "%8d a line as databases send them, %x\n", i, i*i*i*seed); err != nil {
					return
				}
			}
		})
		_, werr = io.CopyN(io.MultiWriter(s, sent), r, size)
	})
	_, rerr := io.CopyN(got, s, size)
	s.CloseWrite()
	wg.Wait()
	switch {
	case werr != nil:
		return fmt.Errorf("send: %w", werr)
	case rerr != nil:
		return fmt.Errorf("receive: %w", rerr)
	case string(sent.Sum(nil)) != string(got.Sum(nil)):
		return errors.New("what came back is not what was sent")
	}
	return nil
}

// Our client compresses with every server that can, through key exchanges that
// either side asks for.
func TestCompression(t *testing.T) {
	rekeying := func(t testing.TB) *testpeer.Server {
		return testpeer.SSHD(t, testpeer.SSHDOptions{LogLevel: "DEBUG1", Config: []string{"RekeyLimit 1M"}})
	}
	refusing := func(t testing.TB) *testpeer.Server {
		return testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"Compression no"}})
	}
	for _, p := range []struct {
		name  string
		start func(testing.TB) *testpeer.Server
		rekey uint64 // ours; 0 for none
		want  string
	}{
		{"sshd", startSSHD, zlibRekeyAt, "zlib@openssh.com"},
		{"sshd, which asks for new keys", rekeying, 0, "zlib@openssh.com"},
		{"sshd, both ask for new keys", rekeying, zlibRekeyAt, "zlib@openssh.com"},
		{"sshd without", refusing, zlibRekeyAt, "none"},
		{"dropbear", testpeer.Dropbear, zlibRekeyAt, "zlib@openssh.com"},
		{"asyncssh", testpeer.AsyncSSH, zlibRekeyAt, "zlib@openssh.com"},
		{"xcrypto", testpeer.XCrypto, zlibRekeyAt, "none"},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := p.start(t)
			ctx, r := withLimit(t), newZlibRecorder()
			cfg := adit.Config{Keys: adit.Keys(s.Key.Signer), RekeyBytes: p.rekey, Compression: true,
				CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Tracer: r, Ahead: testpeer.EchoTarget(t).Addr}
			c, err := adit.Dial(ctx, s.User+"@"+s.Addr, &cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := through(c, cfg.Ahead)(ctx, echoText); err != nil {
				t.Errorf("text: %v", err)
			}
			if err := through(c, testpeer.HashTarget(t).Addr)(ctx, func(s testpeer.Stream) error { return testpeer.Upload(s, halfCloseSize) }); err != nil {
				t.Errorf("random bytes: %v", err)
			}
			c.Close()
			if r.rekeys() < 2 {
				t.Errorf("%d key exchanges, want several", r.rekeys())
			}
			r.check(t, p.want)
		})
	}
}

// Every client that can compress does so with our server.
func TestCompressionServer(t *testing.T) {
	for _, c := range testpeer.Clients() {
		if !c.Compresses {
			continue
		}
		for _, who := range []string{"us", "the client"} {
			t.Run(c.Name+"/new keys by "+who, func(t *testing.T) {
				t.Parallel()
				ctx, r := withLimit(t), newZlibRecorder()
				var ours, theirs uint64 = zlibRekeyAt, 0
				if who != "us" {
					ours, theirs = 0, zlibRekeyAt
				}
				key := testpeer.NewKey(t, "ed25519")
				e, shutdown := startBastionFor(t, key, key.Line(), bastion.Config{Tracer: r, RekeyBytes: ours})
				open := tunnels(t, c, e, testpeer.EchoTarget(t).Addr, testpeer.TunnelOptions{Compress: true, RekeyBytes: int64(theirs)})
				if err := open(ctx, echoText); err != nil {
					t.Errorf("text: %v", err)
				}
				shutdown(context.Background())
				if r.rekeys() < 2 {
					t.Errorf("%d key exchanges, want several", r.rekeys())
				}
				r.check(t, "zlib@openssh.com")
			})
		}
	}
}

// Many channels at once, with small messages among them, get through key exchanges
// that both sides ask for all the time.
func TestCompressionOfMany(t *testing.T) {
	const rekeyAt, channels, size = 64 << 10, 40, 300_000
	for _, p := range []struct {
		name  string
		start func(t *testing.T) *testpeer.Endpoint
	}{
		{"adit serve", func(t *testing.T) *testpeer.Endpoint {
			key := testpeer.NewKey(t, "ed25519")
			e, _ := startBastionFor(t, key, key.Line(), bastion.Config{RekeyBytes: rekeyAt})
			return e
		}},
		{"sshd", func(t *testing.T) *testpeer.Endpoint {
			return &testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"RekeyLimit 64K"}}).Endpoint
		}},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			e := p.start(t)
			ctx, r, echo := withLimit(t), newZlibRecorder(), testpeer.EchoTarget(t).Addr
			c, err := adit.Dial(ctx, e.User+"@"+e.Addr, &adit.Config{Keys: adit.Keys(e.Key.Signer), RekeyBytes: rekeyAt, Compression: true,
				CheckHostKey: adit.FixedHostKey(e.HostKeys[0]), Tracer: r})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var wg sync.WaitGroup
			for i := range channels {
				wg.Go(func() {
					if err := through(c, echo)(ctx, func(s testpeer.Stream) error { return echoed(s, size, 1+i*i*7919) }); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Go(func() {
				for range 200 {
					if _, _, err := c.SendRequest(ctx, "keepalive@openssh.com", true, nil); err != nil {
						t.Errorf("keepalive: %v", err)
						return
					}
				}
			})
			wg.Wait()
			c.Close()
			if r.rekeys() < 3 { // what is on its way when one is due comes first
				t.Errorf("%d key exchanges, want several; %+v", r.rekeys(), r.summary)
			}
		})
	}
}
