package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/trace"
)

var stdioSpec = Spec{Host: "db.internal", HostPort: 80}

// stdioServer gives Stdio a channel whose other end is peer.
func stdioServer(t testing.TB, cfg *Config, closed chan struct{}) (peer *testnet.Conn) {
	t.Helper()
	local, peer := testnet.Pipe(testnet.Options{})
	cfg.Open = func(_ context.Context, host string, port uint16, originator netip.AddrPort) (relay.Conn, error) {
		if host != "db.internal" || port != 80 || originator.String() != "127.0.0.1:65535" {
			t.Errorf("asked for %s port %d from %v", host, port, originator)
		}
		return &closer{local, closed}, nil
	}
	return peer
}

// closer is a channel that knows when its peer has closed it.
type closer struct {
	relay.Conn
	closed chan struct{}
}

func (c *closer) Closed() <-chan struct{} { return c.closed }

func answer(peer *testnet.Conn, closed chan struct{}) {
	question, _ := io.ReadAll(peer)
	io.WriteString(peer, "answer to "+string(question))
	peer.CloseWrite()
	close(closed)
}

func TestStdioHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cfg Config
		var ev events
		cfg.Tracer = &ev
		closed := make(chan struct{})
		peer := stdioServer(t, &cfg, closed)
		go answer(peer, closed)
		var out bytes.Buffer
		if err := Stdio(t.Context(), stdioSpec, strings.NewReader("question"), &out, cfg); err != nil {
			t.Error(err)
		}
		if out.String() != "answer to question" {
			t.Errorf("wrote %q", &out)
		}
		want := trace.Forward{What: "done", Target: "db.internal:80", Originator: "standard input", Out: 8, In: 18}
		if got := ev.of("done"); len(got) != 1 || got[0] != want {
			t.Errorf("events %+v, want %+v", got, want)
		}
	})
}

// As a ProxyCommand is run: one socket is both, and is nobody's to close but
// the peer is to learn of the end.
func TestStdioSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cfg Config
		closed := make(chan struct{})
		peer := stdioServer(t, &cfg, closed)
		go answer(peer, closed)
		app, ours := testnet.Pipe(testnet.Options{})
		result := make(chan error, 1)
		go func() { result <- Stdio(t.Context(), stdioSpec, ours, ours, cfg) }()
		io.WriteString(app, "question")
		app.CloseWrite()
		if got, err := io.ReadAll(app); string(got) != "answer to question" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func TestStdioPipes(t *testing.T) {
	testnet.Census(t)
	var cfg Config
	closed := make(chan struct{})
	peer := stdioServer(t, &cfg, closed)
	go answer(peer, closed)
	inR, inW := osPipe(t)
	outR, outW := osPipe(t)
	result := make(chan error, 1)
	go func() { result <- Stdio(t.Context(), stdioSpec, inR, outW, cfg) }()
	io.WriteString(inW, "question")
	inW.Close()
	if got, err := io.ReadAll(outR); string(got) != "answer to question" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func osPipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// stuck is a terminal where nobody types, or whose output was stopped.
type stuck chan struct{}

func (s stuck) Read([]byte) (int, error)  { <-s; return 0, io.EOF }
func (s stuck) Write([]byte) (int, error) { <-s; return 0, io.ErrClosedPipe }

// When the server has sent its last, input is read no more, even if reading
// can't be interrupted.
func TestStdioServerEnds(t *testing.T) {
	for name, in := range map[string]func(*testing.T) (io.Reader, func()){
		"uninterruptible": func(*testing.T) (io.Reader, func()) {
			s := make(stuck)
			return s, func() { close(s) }
		},
		"deadlines": func(*testing.T) (io.Reader, func()) {
			a, b := testnet.Pipe(testnet.Options{})
			return a, func() {
				go b.Write([]byte("x"))
				if _, err := a.Read(make([]byte, 1)); err != nil {
					t.Errorf("input is left with a deadline: %v", err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cfg Config
				var ev events
				cfg.Tracer = &ev
				peer := stdioServer(t, &cfg, make(chan struct{}))
				go func() {
					io.WriteString(peer, "bye")
					peer.CloseWrite()
				}()
				var out bytes.Buffer
				r, after := in(t)
				if err := Stdio(t.Context(), stdioSpec, r, &out, cfg); err != nil || out.String() != "bye" {
					t.Errorf("wrote %q, %v", &out, err)
				}
				if got := ev.of("done"); len(got) != 1 || got[0].Err != "" || got[0].In != 3 {
					t.Errorf("events %+v", got)
				}
				after()
			})
		})
	}
}

func TestStdioCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cfg Config
		peer := stdioServer(t, &cfg, make(chan struct{}))
		go peer.Write(make([]byte, 1<<10)) // more than the terminal takes
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("interrupted")
		time.AfterFunc(time.Second, func() { cancel(reason) })
		in, out := make(stuck), make(stuck)
		if err := Stdio(ctx, stdioSpec, in, out, cfg); !errors.Is(err, reason) {
			t.Errorf("%v, want %v", err, reason)
		}
		close(in)
		close(out)
	})
}

// What can't be written any more is not read any more.
func TestStdioBrokenOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cfg Config
		peer := stdioServer(t, &cfg, make(chan struct{}))
		go func() {
			for {
				if _, err := peer.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}()
		in, out := make(stuck), make(stuck)
		close(out)
		if err := Stdio(t.Context(), stdioSpec, in, out, cfg); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%v, want %v", err, io.ErrClosedPipe)
		}
		close(in)
		peer.Close()
	})
}

func TestStdioRefused(t *testing.T) {
	refusal := openFailure{1, "open failed"}
	var ev events
	cfg := Config{Tracer: &ev, Open: func(context.Context, string, uint16, netip.AddrPort) (relay.Conn, error) { return nil, refusal }}
	err := Stdio(t.Context(), stdioSpec, strings.NewReader(""), io.Discard, cfg)
	if !errors.Is(err, refusal) || !strings.HasPrefix(err.Error(), "forward to db.internal:80: ") {
		t.Errorf("%v, want %v", err, refusal)
	}
	if got := ev.of("refused"); len(got) != 1 || got[0].Err != refusal.Error() {
		t.Errorf("events %+v", got)
	}
	if err := Stdio(t.Context(), Spec{TargetPath: "/x"}, strings.NewReader(""), io.Discard, cfg); !errors.Is(err, errPath) {
		t.Errorf("a path: %v, want %v", err, errPath)
	}
}

var _ net.Conn = (*stdio)(nil)
