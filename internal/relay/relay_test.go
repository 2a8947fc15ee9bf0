package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// plain hides everything of a connection but Conn, as TLS would.
type plain struct{ Conn }

// channel looks like an SSH channel: it wants to see sockets themselves.
type channel struct {
	Conn
	closed         chan struct{}
	source, target any
}

func (c *channel) ReadFrom(r io.Reader) (int64, error) {
	c.source = r
	return io.Copy(c.Conn, r)
}

func (c *channel) WriteTo(w io.Writer) (int64, error) {
	c.target = w
	return io.Copy(w, c.Conn)
}

func (c *channel) Closed() <-chan struct{} { return c.closed }

// rig is two applications with a Pipe between them.
type rig struct {
	app, server   *net.TCPConn // what the applications hold
	local, remote *net.TCPConn // what Pipe holds
	cancel        context.CancelCauseFunc
	result        func() Result // waits for Pipe
}

func newRig(t testing.TB, wrap func(*net.TCPConn) Conn, head []byte) *rig {
	t.Helper()
	testnet.Census(t)
	r := &rig{}
	r.app, r.local = testnet.TCPPipe(t)
	r.remote, r.server = testnet.TCPPipe(t)
	var ctx context.Context
	ctx, r.cancel = context.WithCancelCause(context.Background())
	done := make(chan Result, 1)
	var wg sync.WaitGroup
	wg.Go(func() { done <- Pipe(ctx, r.local, wrap(r.remote), head) })
	r.result = sync.OnceValue(func() Result {
		defer r.cancel(nil)
		select {
		case res := <-done:
			return res
		case <-time.After(20 * time.Second):
			t.Error("Pipe did not return")
			r.cancel(errors.New("gave up"))
			return <-done
		}
	})
	t.Cleanup(func() {
		r.cancel(nil)
		wg.Wait()
	})
	return r
}

func asTCP(c *net.TCPConn) Conn     { return c }
func asPlain(c *net.TCPConn) Conn   { return plain{c} }
func asChannel(c *net.TCPConn) Conn { return &channel{Conn: c, closed: make(chan struct{})} }

var kinds = []struct {
	name string
	wrap func(*net.TCPConn) Conn
}{{"tcp", asTCP}, {"plain", asPlain}, {"channel", asChannel}}

// The one who asks first half-closes, as nc -N and HTTP/1.0 clients do.
func TestPipeHalfClose(t *testing.T) {
	for _, k := range kinds {
		for _, fromApp := range []bool{true, false} {
			name := k.name + ", the app ends first"
			if !fromApp {
				name = k.name + ", the server ends first"
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t, k.wrap, nil)
				first, second := r.app, r.server
				if !fromApp {
					first, second = r.server, r.app
				}
				io.WriteString(first, "question")
				first.CloseWrite()
				if got, err := io.ReadAll(second); string(got) != "question" || err != nil {
					t.Fatalf("second read %q, %v", got, err)
				}
				io.WriteString(second, "the answer")
				second.Close()
				if got, err := io.ReadAll(first); string(got) != "the answer" || err != nil {
					t.Errorf("after its half-close first read %q, %v", got, err)
				}
				res := r.result()
				want := Result{Out: 8, In: 10}
				if !fromApp {
					want = Result{Out: 10, In: 8}
				}
				if res != want {
					t.Errorf("result %+v, want %+v", res, want)
				}
			})
		}
	}
}

func TestPipeHead(t *testing.T) {
	r := newRig(t, asPlain, []byte("read before, "))
	io.WriteString(r.app, "and after")
	r.app.CloseWrite()
	if got, _ := io.ReadAll(r.server); string(got) != "read before, and after" {
		t.Errorf("server read %q", got)
	}
	r.server.Close()
	if res := r.result(); res != (Result{Out: 22}) {
		t.Errorf("result %+v", res)
	}
}

func TestPipeBigBothWays(t *testing.T) {
	const size = 24 << 20
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := newRig(t, k.wrap, nil)
			var wg sync.WaitGroup
			sums := map[*net.TCPConn]*[2][sha256.Size]byte{r.app: {}, r.server: {}}
			for i, c := range []*net.TCPConn{r.app, r.server} {
				wg.Go(func() {
					h := sha256.New()
					src := rand.NewChaCha8([32]byte{byte(i)})
					if _, err := io.CopyN(io.MultiWriter(c, h), src, size); err != nil {
						t.Errorf("send: %v", err)
					}
					c.CloseWrite()
					h.Sum(sums[c][0][:0])
				})
				wg.Go(func() {
					h := sha256.New()
					if n, err := io.Copy(h, c); n != size || err != nil {
						t.Errorf("received %d bytes, %v", n, err)
					}
					h.Sum(sums[c][1][:0])
				})
			}
			wg.Wait()
			if sums[r.app][0] != sums[r.server][1] || sums[r.server][0] != sums[r.app][1] {
				t.Error("what arrived is not what was sent")
			}
			if res := r.result(); res != (Result{Out: size, In: size}) {
				t.Errorf("result %+v", res)
			}
		})
	}
}

// A reset of one end arrives as a reset at the other.
func TestPipeReset(t *testing.T) {
	for _, k := range kinds {
		for _, byApp := range []bool{true, false} {
			name := k.name + ", by the app"
			if !byApp {
				name = k.name + ", by the server"
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t, k.wrap, nil)
				who, whom := r.app, r.server
				if !byApp {
					who, whom = r.server, r.app
				}
				// Both directions are up before.
				io.WriteString(who, "x")
				io.ReadFull(whom, make([]byte, 1))
				who.SetLinger(0)
				who.Close()
				if k.name != "tcp" && byApp {
					// What is no socket is not reset; its end is what arrives.
					io.Copy(io.Discard, whom)
				} else if _, err := whom.Read(make([]byte, 1)); !PeerGone(err) {
					t.Errorf("the reset arrived as %v", err)
				}
				if res := r.result(); !PeerGone(res.Err) {
					t.Errorf("result %+v does not tell of the reset", res)
				}
			})
		}
	}
}

// After an orderly end of one direction, a failure of the other must not take
// back what was delivered: a server that answers early and closes.
func TestPipeEarlyAnswer(t *testing.T) {
	r := newRig(t, asPlain, nil)
	io.WriteString(r.server, "413 too large")
	r.server.CloseWrite()
	if got, err := io.ReadAll(r.app); string(got) != "413 too large" || err != nil {
		t.Fatalf("app read %q, %v", got, err)
	}
	r.server.SetLinger(0)
	r.server.Close()
	for { // The rest of an upload, until it is clear that nobody reads it.
		if _, err := r.app.Write(make([]byte, 1<<16)); err != nil {
			break
		}
	}
	if res := r.result(); res.Err == nil || res.In != 13 {
		t.Errorf("result %+v, want an error and 13 bytes in", res)
	}
}

func TestPipeCancelled(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := newRig(t, k.wrap, nil)
			reason := errors.New("shutting down")
			r.cancel(reason)
			if res := r.result(); res.Err != reason {
				t.Errorf("result %+v, want the cause", res)
			}
			if _, err := r.app.Read(make([]byte, 1)); !PeerGone(err) {
				t.Errorf("app read %v, want a reset: its stream was cut", err)
			}
		})
	}
}

// The peer's CLOSE ends a connection whose local side stays silent.
func TestPipeRemoteClosed(t *testing.T) {
	ch := &channel{closed: make(chan struct{})}
	r := newRig(t, func(c *net.TCPConn) Conn { ch.Conn = c; return ch }, nil)
	io.WriteString(r.server, "bye")
	r.server.CloseWrite()
	if got, err := io.ReadAll(r.app); string(got) != "bye" || err != nil {
		t.Fatalf("app read %q, %v", got, err)
	}
	close(ch.closed)
	if res := r.result(); res != (Result{In: 3}) {
		t.Errorf("result %+v, want an orderly end", res)
	}
	if ch.source != r.local || ch.target != r.local {
		t.Errorf("the channel was given %T and %T, want the socket itself", ch.source, ch.target)
	}
}

// A write that fails for good ends both directions, whoever is silent.
func TestPipeWriteError(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		app, local := net.Pipe()
		server, remote := net.Pipe()
		defer app.Close()
		defer server.Close()
		done := make(chan Result, 1)
		go func() {
			done <- Pipe(t.Context(), pipeConn{local}, badWriter{pipeConn{remote}, broken}, []byte("head"))
		}()
		res := <-done
		if !errors.Is(res.Err, broken) {
			t.Errorf("result %+v, want %v", res, broken)
		}
		if _, err := app.Read(make([]byte, 1)); err == nil {
			t.Error("local is still open")
		}
	})
}

type pipeConn struct{ net.Conn }

func (pipeConn) CloseWrite() error { return nil }

type badWriter struct {
	pipeConn
	err error
}

func (b badWriter) Write([]byte) (int, error) { return 0, b.err }

// Idle connections hold no buffers even without a channel's own methods.
func TestPipeIdleHoldsNoBuffer(t *testing.T) {
	if _, ok := lazyReader(&net.TCPConn{}); !ok && runtime.GOOS == "windows" {
		t.Skip("this system does not tell readiness")
	}
	const pipes = 64
	const bothBuffers = pipes * 2 * bufferSize
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range pipes {
		// Wrapped on both sides: no splice, no ReadFrom.
		r := newRig(t, asPlain, nil)
		for _, c := range []*net.TCPConn{r.app, r.server} {
			io.WriteString(c, "ping")
		}
		for _, c := range []*net.TCPConn{r.app, r.server} {
			if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Half of them is remote to local, where remote hides its socket: those
	// hold one buffer.
	const most = bothBuffers/2 + bothBuffers/4
	var held uint64
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if held = heap() - before; int64(held) < most {
			return
		}
	}
	t.Errorf("%d idle pipes hold %d bytes, want less than %d", pipes, held, most)
}

func TestCopyPlainShortWrite(t *testing.T) {
	n, err := copyPlain(shortWriter{}, bytes.NewReader(make([]byte, 100)))
	if n != 1 || err != io.ErrShortWrite {
		t.Errorf("%d, %v; want 1, %v", n, err, io.ErrShortWrite)
	}
}

type shortWriter struct{}

func (shortWriter) Write([]byte) (int, error) { return 1, nil }
