package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/testnet"
)

// offered is an Incoming whose channel is a pipe.
type offered struct {
	ctx    context.Context
	ch     relay.Conn
	accept error
	answer chan string // "accepted", or the reason and text of a refusal
}

func (o *offered) Accept() (relay.Conn, error) {
	if o.accept != nil {
		return nil, o.accept
	}
	o.answer <- "accepted"
	return o.ch, nil
}

func (o *offered) Reject(reason uint32, text string) error {
	o.answer <- fmt.Sprintf("%d %s", reason, text)
	return nil
}

func (o *offered) Originator() string       { return "192.0.2.7:4711" }
func (o *offered) Context() context.Context { return o.ctx }

// remote starts a Remote for -R's argument.
func remote(t testing.TB, arg string, cfg Config) *Remote {
	t.Helper()
	spec, err := ParseRemote(arg)
	if err != nil {
		t.Fatal(err)
	}
	r := NewRemote(spec, cfg)
	t.Cleanup(func() { r.Close() })
	return r
}

// offer has r serve a connection and returns the server's end and the answer.
func offer(t testing.TB, r *Remote) (peer *testnet.Conn, answer chan string) {
	t.Helper()
	ch, peer := testnet.Pipe(testnet.Options{})
	o := &offered{ctx: t.Context(), ch: ch, answer: make(chan string, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { r.Serve(o) })
	t.Cleanup(func() { peer.Close(); wg.Wait() })
	return peer, o.answer
}

// port is ":port" of an address.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':'):] }

func TestRemote(t *testing.T) {
	testnet.Census(t)
	target, _ := testnet.ServeUnix(t, echoPath)
	for _, to := range []string{"127.0.0.1" + port(testnet.ServeTCP(t, echoAfterEOF)), "localhost" + port(testnet.ServeTCP(t, echoAfterEOF)), target} {
		var ev events
		r := remote(t, "0:"+to, Config{Tracer: &ev, Network: "tcp4"})
		peer, answer := offer(t, r)
		if got := <-answer; got != "accepted" {
			t.Fatalf("%s: %s", to, got)
		}
		io.WriteString(peer, "hello")
		peer.CloseWrite()
		if got, err := io.ReadAll(peer); string(got) != `you said "hello"` || err != nil {
			t.Errorf("%s: read %q, %v", to, got, err)
		}
		until(t, "the end is told", func() bool { return len(ev.of("done")) == 1 })
		got := ev.of("done")[0]
		if got.Spec != "-R 0:"+to || got.Target != to || got.Originator != "192.0.2.7:4711" || got.In != 5 || got.Out != 16 || got.Err != "" {
			t.Errorf("%s: event %+v", to, got)
		}
		until(t, "the connection is given back", func() bool { return r.Conns() == 0 })
	}
}

// The channel is confirmed only when the target is there; else the server hears
// why not.
func TestRemoteRefused(t *testing.T) {
	testnet.Census(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var ev events
	for to, want := range map[string]string{l.Addr().String(): "2 Connection refused", testnet.SocketDir(t) + "/none": "2 Connect failed"} {
		_, answer := offer(t, remote(t, "0:"+to, Config{Tracer: &ev}))
		if got := <-answer; got != want {
			t.Errorf("%s: answered %q, want %q", to, got, want)
		}
	}
	if got := ev.of("refused"); len(got) != 2 || len(ev.of("open")) != 0 {
		t.Errorf("events %+v", got)
	}
}

// The target is let go when the channel can't be accepted.
func TestRemoteNotAccepted(t *testing.T) {
	testnet.Census(t)
	ended := make(chan error, 1)
	r := remote(t, "0:"+testnet.ServeTCP(t, func(c *net.TCPConn) {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}), Config{})
	r.Serve(&offered{ctx: t.Context(), accept: errors.New("too many channels")})
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) && err != io.EOF {
		t.Errorf("the target reads %v", err)
	}
	if n := r.Conns(); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
}

func TestRemoteReset(t *testing.T) {
	testnet.Census(t)
	ended := make(chan error, 1)
	r := remote(t, "0:"+testnet.ServeTCP(t, func(c *net.TCPConn) {
		_, err := io.ReadAll(c)
		ended <- err
	}), Config{})
	peer, answer := offer(t, r)
	<-answer
	peer.Reset()
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the channel's failure arrives as %v, want a reset", err)
	}
}

func TestRemoteLimit(t *testing.T) {
	testnet.Census(t)
	r := remote(t, "0:"+testnet.ServeTCP(t, echoAfterEOF), Config{MaxConns: 1})
	first, answer := offer(t, r)
	<-answer
	_, answer = offer(t, r)
	if got := <-answer; got != "4 Resource shortage" {
		t.Errorf("one too many: %q", got)
	}
	first.Close()
	until(t, "there is room again", func() bool { return r.Conns() == 0 })
	_, answer = offer(t, r)
	if got := <-answer; got != "accepted" {
		t.Errorf("with room: %q", got)
	}
}

// Close ends connections and refuses later ones, also one that dials.
func TestRemoteClose(t *testing.T) {
	testnet.Census(t)
	r := remote(t, "0:"+testnet.ServeTCP(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) }), Config{})
	peer, answer := offer(t, r)
	<-answer
	r.Close()
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("the channel lives on")
	}
	_, answer = offer(t, r)
	if got := <-answer; got == "accepted" {
		t.Error("a closed forward accepts")
	}
	// The client of a proxy that does not come to the point.
	r = remote(t, "0", Config{})
	peer, answer = offer(t, r)
	<-answer
	io.WriteString(peer, "\x05")
	closed := make(chan struct{})
	go func() { r.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second): // less than a client may take for its request
		t.Error("Close waits for a slow client")
	}
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("the slow client's channel lives on")
	}
}

// -R with a port alone: the server's clients name targets on our side.
func TestRemoteProxy(t *testing.T) {
	testnet.Census(t)
	echo := testnet.ServeTCP(t, echoAfterEOF)
	name := "localhost" + port(echo)
	for _, p := range proxyClients {
		t.Run(p.name, func(t *testing.T) {
			ask := askFor(p.name, name)
			for _, tt := range []struct {
				permit Permit
				want   string
			}{
				{nil, p.granted + `you said "hello"`},
				{Permit{name}, p.granted + `you said "hello"`},
				{Permit{"*" + port(echo)}, p.granted + `you said "hello"`},
				{Permit{"127.0.0.1" + port(echo)}, p.refused[errProhibited]},
				{Permit{"none"}, p.refused[errProhibited]},
				{Permit{}, p.refused[errProhibited]},
			} {
				r := remote(t, "0", Config{Permit: tt.permit, Network: "tcp4"})
				peer, answer := offer(t, r)
				<-answer
				io.WriteString(peer, ask+"hello")
				peer.CloseWrite()
				got, err := io.ReadAll(peer)
				if !strings.HasPrefix(string(got), tt.want) || err != nil || strings.Contains(tt.want, "hello") && string(got) != tt.want {
					t.Errorf("permitted %v: read %q, %v; want %q", tt.permit, got, err, tt.want)
				}
				until(t, "the connection is given back", func() bool { return r.Conns() == 0 })
			}
		})
	}
}

// askFor is a proxy client's request for host:port.
func askFor(protocol, hostPort string) string {
	host, p, _ := net.SplitHostPort(hostPort)
	n, _ := net.LookupPort("tcp", p)
	bigEndian := string([]byte{byte(n >> 8), byte(n)})
	switch protocol {
	case "SOCKS4a":
		return "\x04\x01" + bigEndian + "\x00\x00\x00\x01\x00" + host + "\x00"
	case "SOCKS5":
		return "\x05\x01\x00\x05\x01\x00\x03" + string(rune(len(host))) + host + bigEndian
	}
	return "CONNECT " + hostPort + " HTTP/1.1\r\n\r\n"
}

func TestPermit(t *testing.T) {
	for _, tt := range []struct {
		permit Permit
		want   bool
	}{
		{nil, true}, {Permit{}, false}, {Permit{"none"}, false}, {Permit{"db:5432"}, true}, {Permit{"db:*"}, true}, {Permit{"*:5432"}, true},
		{Permit{"*:*"}, true}, {Permit{"x:1", "db:5432"}, true}, {Permit{"db:5433"}, false}, {Permit{"DB:5432"}, false}, {Permit{"d*:5432"}, false},
		{Permit{"db"}, false}, {Permit{"db:54*"}, false},
	} {
		if got := tt.permit.Allows("db", 5432); got != tt.want {
			t.Errorf("%q allows db:5432: %v", tt.permit, got)
		}
	}
	if !(Permit{"[::1]:80"}).Allows("::1", 80) {
		t.Error("an IPv6 address in brackets is not allowed")
	}
}
