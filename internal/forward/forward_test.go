package forward

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/trace"
)

// server is what is behind the opener: it knows names that nobody else does,
// and keeps what it was asked.
type server struct {
	hosts map[string]string // host:port as asked for, and where that is
	errs  map[string]error

	mu    sync.Mutex
	asked []ask // guarded by mu
}

type ask struct {
	target     string
	originator netip.AddrPort
}

func (s *server) open(ctx context.Context, host string, port uint16, originator netip.AddrPort) (relay.Conn, error) {
	target := net.JoinHostPort(host, strconv.Itoa(int(port)))
	s.mu.Lock()
	s.asked = append(s.asked, ask{target, originator})
	s.mu.Unlock()
	if err := s.errs[target]; err != nil {
		return nil, err
	}
	addr, ok := s.hosts[target]
	if !ok {
		return nil, openFailure{2, "Name or service not known"}
	}
	if addr == "silent" {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return opaque{c.(*net.TCPConn)}, nil
}

func (s *server) asks() []ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// opaque hides that a channel is a socket.
type opaque struct{ relay.Conn }

type openFailure struct {
	reason uint32
	text   string
}

func (e openFailure) Error() string                 { return "channel refused: " + e.text }
func (e openFailure) OpenFailure() (uint32, string) { return e.reason, e.text }

// events keeps trace.Forward events.
type events struct {
	mu  sync.Mutex
	all []trace.Forward // guarded by mu
}

func (e *events) Level() trace.Level { return trace.LevelConn }

func (e *events) Trace(_ time.Time, ev trace.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev.(trace.Forward))
}

func (e *events) of(what string) (found []trace.Forward) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev.What == what {
			found = append(found, ev)
		}
	}
	return found
}

// until waits for something that another goroutine is about to do.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// echoAfterEOF answers only when the question is over.
func echoAfterEOF(c *net.TCPConn) {
	question, err := io.ReadAll(c)
	if err == nil {
		fmt.Fprintf(c, "you said %q", question)
	}
}

func start(t testing.TB, arg string, cfg Config) *Forwarder {
	t.Helper()
	parse := ParseLocal
	if !strings.Contains(arg, ":") {
		parse = ParseDynamic
	}
	spec, err := parse(arg)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Listen(t.Context(), spec, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func connect(t testing.TB, f *Forwarder) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// A forward is silent until somebody connects, asks for the name as it is and
// tells who it was; half-close goes through.
func TestLocal(t *testing.T) {
	testnet.Census(t)
	s := &server{hosts: map[string]string{"db.internal:5432": testnet.ServeTCP(t, echoAfterEOF)}}
	var ev events
	f := start(t, "0:db.internal:5432", Config{Open: s.open, Tracer: &ev})
	if got := s.asks(); len(got) != 0 {
		t.Errorf("the server was asked for %v before anybody connected", got)
	}
	c := connect(t, f)
	io.WriteString(c, "hello")
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != `you said "hello"` || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	want := []ask{{"db.internal:5432", c.LocalAddr().(*net.TCPAddr).AddrPort()}}
	if got := s.asks(); !slices.Equal(got, want) {
		t.Errorf("the server was asked for %v, want %v", got, want)
	}
	until(t, "the end is told", func() bool { return len(ev.of("done")) == 1 })
	got := ev.of("done")[0]
	wantEvent := trace.Forward{What: "done", Spec: "0:db.internal:5432", Local: f.Addr().String(), Originator: c.LocalAddr().String(),
		Target: "db.internal:5432", In: 16, Out: 5}
	if got != wantEvent {
		t.Errorf("event %+v, want %+v", got, wantEvent)
	}
	if n := len(ev.of("listen")); n != len(f.Addrs()) {
		t.Errorf("%d events of listening on %v", n, f.Addrs())
	}
}

// The local end of a refused open is closed, and the reason told.
func TestLocalRefused(t *testing.T) {
	testnet.Census(t)
	s := &server{errs: map[string]error{"a:80": openFailure{2, "Connection refused"}}}
	var ev events
	f := start(t, "0:a:80", Config{Open: s.open, Tracer: &ev})
	c := connect(t, f)
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v; want the end", n, err)
	}
	until(t, "the refusal is told", func() bool { return len(ev.of("refused")) == 1 })
	if got := ev.of("refused")[0]; got.Target != "a:80" || got.Originator != c.LocalAddr().String() || !strings.Contains(got.Err, "Connection refused") {
		t.Errorf("event %+v", got)
	}
	if len(ev.of("open"))+len(ev.of("done")) != 0 {
		t.Error("a refused connection was told as open")
	}
}

func TestLocalReset(t *testing.T) {
	testnet.Census(t)
	s := &server{hosts: map[string]string{"a:80": testnet.ServeTCP(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 1))
		c.SetLinger(0)
	})}}
	f := start(t, "0:a:80", Config{Open: s.open})
	c := connect(t, f)
	io.WriteString(c, "x")
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target's reset arrives as %v", err)
	}
}

func TestLocalBigBothWays(t *testing.T) {
	testnet.Census(t)
	const size = 16 << 20
	sums := make(chan [sha256.Size]byte, 2)
	receive := func(c net.Conn) {
		h := sha256.New()
		if n, err := io.Copy(h, c); n != size || err != nil {
			t.Errorf("received %d bytes, %v", n, err)
		}
		sums <- [sha256.Size]byte(h.Sum(nil))
	}
	sent := make(chan [sha256.Size]byte, 2)
	send := func(c *net.TCPConn, seed byte) {
		h := sha256.New()
		if _, err := io.CopyN(io.MultiWriter(h, c), rand.NewChaCha8([32]byte{seed}), size); err != nil {
			t.Errorf("send: %v", err)
		}
		c.CloseWrite()
		sent <- [sha256.Size]byte(h.Sum(nil))
	}
	s := &server{hosts: map[string]string{"a:80": testnet.ServeTCP(t, func(c *net.TCPConn) {
		var wg sync.WaitGroup
		wg.Go(func() { send(c, 1) })
		receive(c)
		wg.Wait()
	})}}
	f := start(t, "0:a:80", Config{Open: s.open})
	c := connect(t, f)
	var wg sync.WaitGroup
	wg.Go(func() { send(c, 2) })
	receive(c)
	wg.Wait()
	got := [][sha256.Size]byte{<-sums, <-sums}
	for range 2 {
		if want := <-sent; !slices.Contains(got, want) {
			t.Error("what arrived is not what was sent")
		}
	}
}

func TestLocalManyShortConnections(t *testing.T) {
	testnet.Census(t)
	const conns, atOnce = 1000, 50
	s := &server{hosts: map[string]string{"a:80": testnet.ServeTCP(t, echoAfterEOF)}}
	f := start(t, "0:a:80", Config{Open: s.open})
	var wg sync.WaitGroup
	work := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for i := range work {
				c, err := net.Dial("tcp", f.Addr().String())
				if err != nil {
					t.Error(err)
					continue
				}
				fmt.Fprint(c, i)
				c.(*net.TCPConn).CloseWrite()
				if got, err := io.ReadAll(c); string(got) != fmt.Sprintf(`you said "%d"`, i) || err != nil {
					t.Errorf("connection %d read %q, %v", i, got, err)
				}
				c.Close()
			}
		})
	}
	for i := range conns {
		work <- i
	}
	close(work)
	wg.Wait()
	if n := len(s.asks()); n != conns {
		t.Errorf("%d channels for %d connections", n, conns)
	}
	until(t, "all have ended", func() bool { return f.Conns() == 0 })
}

func TestClose(t *testing.T) {
	testnet.Census(t)
	var served sync.WaitGroup
	served.Add(1)
	s := &server{hosts: map[string]string{"a:80": testnet.ServeTCP(t, func(c *net.TCPConn) {
		io.WriteString(c, "x")
		io.Copy(io.Discard, c)
		served.Done()
	}), "silent:80": "silent"}}
	f := start(t, "0:a:80", Config{Open: s.open})
	waiting := start(t, "0:silent:80", Config{Open: s.open})
	proxy := start(t, "0", Config{Open: s.open})
	c, w, p := connect(t, f), connect(t, waiting), connect(t, proxy)
	io.ReadFull(c, make([]byte, 1))
	io.WriteString(p, "\x05")
	until(t, "the open is asked for", func() bool { return len(s.asks()) == 2 })

	for _, f := range []*Forwarder{f, waiting, proxy} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		if _, err := net.Dial("tcp", f.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial after Close: %v", err)
		}
	}
	served.Wait()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a stream that was cut ends with %v, want a reset", err)
	}
	for _, c := range []*net.TCPConn{w, p} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a waiting connection is still open")
		}
	}
}

func TestStopListening(t *testing.T) {
	testnet.Census(t)
	s := &server{hosts: map[string]string{"a:80": testnet.ServeTCP(t, echoAfterEOF)}}
	f := start(t, "0:a:80", Config{Open: s.open})
	c := connect(t, f)
	until(t, "the connection is accepted", func() bool { return len(s.asks()) == 1 })
	if err := f.StopListening(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", f.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial after StopListening: %v", err)
	}
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != `you said ""` || err != nil {
		t.Errorf("a connection that was there reads %q, %v", got, err)
	}
	f.Wait()
}

// More connections than allowed wait; they are not refused.
func TestMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testnet.Listen(testnet.Options{})
		channels := make(chan *testnet.Conn, 3)
		var ev events
		f := Serve(Spec{Host: "a", HostPort: 80}, Config{MaxConns: 2, Tracer: &ev,
			Open: func(context.Context, string, uint16, netip.AddrPort) (relay.Conn, error) {
				a, b := testnet.Pipe(testnet.Options{})
				channels <- b
				return a, nil
			}}, l)
		defer f.Close()
		for range 3 {
			go l.Dial(t.Context())
		}
		synctest.Wait()
		if n := len(channels); n != 2 || len(ev.of("full")) != 1 {
			t.Fatalf("%d channels and %d events of being full, want 2 and 1", n, len(ev.of("full")))
		}
		(<-channels).Reset()
		synctest.Wait()
		if n := len(channels); n != 2 {
			t.Errorf("%d channels after one has ended, want the third", n)
		}
		if n := f.Conns(); n != 2 {
			t.Errorf("%d connections are counted, want 2", n)
		}
		// Close does not wait for a slot.
		go l.Dial(t.Context())
		synctest.Wait()
		f.Close()
	})
}
