package userauth

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// recorder is a Tracer that keeps events.
type recorder struct {
	mu     sync.Mutex
	events []trace.Event
}

func (*recorder) Level() trace.Level { return trace.LevelConn }

func (r *recorder) Trace(_ time.Time, e trace.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []trace.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// peer is a scripted peer: it sends and wants messages in the order that a test
// writes down. The half under test runs in a goroutine.
type peer struct {
	t     testing.TB
	conn  *memConn // the peer's end
	under *memConn // the end of the half under test
	phase wire.Phase
	done  chan struct{}
	err   error
	res   *Result
	login *Login
	rec   recorder
}

// testLimit ends a test that hangs.
const testLimit = time.Minute

// clientUnderTest starts Client against a scripted server.
func clientUnderTest(t testing.TB, cfg ClientConfig, ext ...string) *peer {
	t.Helper()
	c, s := memPipe()
	c.extensions(ext...)
	p := &peer{t: t, conn: s, under: c, done: make(chan struct{})}
	if cfg.User == "" {
		cfg.User = "alice"
	}
	cfg.Tracer = &p.rec
	p.start(func(ctx context.Context) { p.res, p.err = Client(ctx, c, cfg) })
	return p
}

// serverUnderTest starts Server against a scripted client.
func serverUnderTest(t testing.TB, cfg ServerConfig) *peer {
	t.Helper()
	c, s := memPipe()
	p := &peer{t: t, conn: c, under: s, done: make(chan struct{})}
	cfg.Tracer = &p.rec
	p.start(func(ctx context.Context) { p.login, p.err = Server(ctx, s, cfg) })
	return p
}

func (p *peer) start(run func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	go func() {
		defer close(p.done)
		run(ctx)
	}()
	p.t.Cleanup(func() {
		cancel()
		<-p.done
	})
}

func (p *peer) send(ms ...wire.Msg) {
	p.t.Helper()
	for _, m := range ms {
		p.raw(m.Append(nil))
	}
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if err := p.conn.WritePacket(b, nil); err != nil {
		p.t.Fatalf("send %s: %v", wire.Name(p.phase, b[0]), err)
	}
}

// want reads the next message, which must be m.
func (p *peer) want(why string, m wire.Msg) wire.Msg {
	p.t.Helper()
	b, err := p.conn.ReadPacket()
	if err != nil {
		p.t.Fatalf("%s: want %s, got %v", why, wire.MsgName(m), err)
	}
	if !bytes.Equal(b, m.Append(nil)) {
		p.t.Fatalf("%s: want %s %+v, got %q", why, wire.MsgName(m), m, b)
	}
	return m
}

// wantRequest reads the next message, a request by the method.
func (p *peer) wantRequest(why, method string) *wire.UserauthRequest {
	p.t.Helper()
	b, err := p.conn.ReadPacket()
	if err != nil {
		p.t.Fatalf("%s: want a %s request, got %v", why, method, err)
	}
	m := new(wire.UserauthRequest)
	if err := wire.Parse(bytes.Clone(b), m); err != nil {
		p.t.Fatalf("%s: %v", why, err)
	}
	if m.Method != method || m.User != "alice" || m.Service != wire.ServiceConnection {
		p.t.Fatalf("%s: want a %s request, got %+v", why, method, m)
	}
	return m
}

// wantKey reads a public key request and checks its signature, if there is one.
func (p *peer) wantKey(why string, k gossh.PublicKey, algorithm string, hostbound, signed bool) *wire.PublickeyBody {
	p.t.Helper()
	method := wire.MethodPublickey
	if hostbound {
		method = wire.MethodHostbound
	}
	m := p.wantRequest(why, method)
	b, err := wire.ParsePublickeyBody(m.Body, hostbound)
	if err != nil {
		p.t.Fatalf("%s: %v", why, err)
	}
	if !bytes.Equal(b.Key, k.Marshal()) || b.Algorithm != algorithm || b.HasSignature != signed || hostbound && !bytes.Equal(b.HostKey, testHostKey) {
		p.t.Fatalf("%s: request is by %s, signed %v, host key %q", why, b.Algorithm, b.HasSignature, b.HostKey)
	}
	if signed {
		if _, err := algo.VerifyHost(algorithm, b.Key, b.Signature, signedData(testSessionID, m.User, method, b)); err != nil {
			p.t.Fatalf("%s: signature: %v", why, err)
		}
	}
	return b
}

func (p *peer) wantDisconnect(why string, reason uint32, text string) {
	p.t.Helper()
	b, err := p.conn.ReadPacket()
	if err != nil {
		p.t.Fatalf("%s: want DISCONNECT, got %v", why, err)
	}
	var m wire.Disconnect
	if err := wire.Parse(b, &m); err != nil || m.Reason != reason || !strings.Contains(m.Description, text) {
		p.t.Fatalf("%s: got %+v %v (%q), want DISCONNECT %d %q", why, m, err, b, reason, text)
	}
	p.wait()
	if e, ok := errors.AsType[*abortError](p.err); !ok || e.reason != reason {
		p.t.Fatalf("%s: error is %v", why, p.err)
	}
}

// wait waits until the half under test has returned.
func (p *peer) wait() {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(2 * testLimit): // the context ends first
		p.t.Fatal("the half under test hangs")
	}
}

// accept plays the server's part up to SERVICE_ACCEPT.
func (p *peer) accept() {
	p.t.Helper()
	p.want("the service is asked for first", &wire.ServiceRequest{Service: wire.ServiceUserauth})
	p.send(&wire.ServiceAccept{Service: wire.ServiceUserauth})
}

// begin plays the client's part up to SERVICE_ACCEPT.
func (p *peer) begin() {
	p.t.Helper()
	p.send(&wire.ServiceRequest{Service: wire.ServiceUserauth})
	p.want("the service is granted", &wire.ServiceAccept{Service: wire.ServiceUserauth})
}

func (p *peer) fail(methods ...string) { p.t.Helper(); p.send(&wire.UserauthFailure{Methods: methods}) }

func (p *peer) partial(methods ...string) {
	p.t.Helper()
	p.send(&wire.UserauthFailure{Methods: methods, Partial: true})
}

// attempts returns the recorded attempts, one line each.
func (p *peer) attempts() []string {
	var out []string
	for _, e := range p.rec.all() {
		if a, ok := e.(trace.AuthAttempt); ok {
			line := a.Method + " " + a.Result
			if a.Probe {
				line = "probe " + line
			}
			out = append(out, line)
		}
	}
	return out
}

func (p *peer) wantAttempts(want ...string) {
	p.t.Helper()
	if got := strings.Join(p.attempts(), ", "); got != strings.Join(want, ", ") {
		p.t.Errorf("attempts in the trace: %s\nwant: %s", got, strings.Join(want, ", "))
	}
}
