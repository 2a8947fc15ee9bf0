package adit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/wire"
)

type listening struct {
	l   net.Listener
	err error
}

// listen has the client ask in the background.
func listen(ctx context.Context, c *adit.Client, network, address string) chan listening {
	got := make(chan listening, 1)
	go func() { // ends with the answer or ctx
		l, err := c.Listen(ctx, network, address)
		got <- listening{l, err}
	}()
	return got
}

// The first connection may lie right behind the answer that names its port.
func TestListen(t *testing.T) {
	c, server := scripted(t)
	for range 20 {
		got := listen(t.Context(), c, "tcp", "localhost:0")
		req := want(t, "it asks", server, new(wire.GlobalRequest))
		var d wire.TCPIPForward
		if err := wire.ParseBody(req.Data, &d); err != nil || req.Type != wire.GlobalTCPIPForward || !req.WantReply || d.Addr != "localhost" || d.Port != 0 {
			t.Fatalf("asked %+v %+v, %v", req, d, err)
		}
		send(t, server, &wire.RequestSuccess{Data: (&wire.TCPIPForwardReply{Port: 40000}).Append(nil)}, forwardedTCPIP(7, "localhost", 40000))
		r := <-got
		if r.err != nil {
			t.Fatal(r.err)
		}
		if a, ok := r.l.Addr().(*net.TCPAddr); !ok || a.String() != "127.0.0.1:40000" {
			t.Errorf("listens on %v", r.l.Addr())
		}
		nc, err := r.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if m := want(t, "it is accepted", server, new(wire.ChannelOpenConfirmation)); m.RecipientChannel != 7 {
			t.Errorf("channel %d is confirmed", m.RecipientChannel)
		}
		if nc.LocalAddr().String() != "127.0.0.1:40000" || nc.RemoteAddr().String() != "192.0.2.7:4711" {
			t.Errorf("addresses %v and %v", nc.LocalAddr(), nc.RemoteAddr())
		}
		// Closing leaves connections alone and tells the server.
		if err := r.l.Close(); err != nil {
			t.Error(err)
		}
		req = want(t, "it cancels", server, new(wire.GlobalRequest))
		if err := wire.ParseBody(req.Data, &d); err != nil || req.Type != wire.GlobalCancelTCPIPForward || req.WantReply || d.Addr != "localhost" || d.Port != 40000 {
			t.Errorf("cancelled %+v %+v, %v", req, d, err)
		}
		if _, err := nc.Write([]byte("x")); err != nil {
			t.Errorf("the connection went with its listener: %v", err)
		}
		want(t, "data comes", server, new(wire.ChannelData))
		nc.Close()
		want(t, "it closes", server, new(wire.ChannelClose))
		send(t, server, &wire.ChannelClose{})
		if err := r.l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed again: %v", err)
		}
		if _, err := r.l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
		send(t, server, forwardedTCPIP(8, "localhost", 40000))
		if m := want(t, "what comes late is refused", server, new(wire.ChannelOpenFailure)); m.Reason != wire.OpenAdministrativelyProhibited {
			t.Errorf("refused with %+v", m)
		}
	}
}

// What is asked for each form of an address, and what the listener's address is.
func TestListenAddresses(t *testing.T) {
	c, server := scripted(t)
	for _, tt := range []struct{ network, address, host, shown string }{
		{"tcp", ":80", "", "[::]:80"},
		{"tcp", "*:80", "", "[::]:80"},
		{"tcp4", ":80", "0.0.0.0", "0.0.0.0:80"},
		{"tcp6", ":80", "::", "[::]:80"},
		{"tcp4", "localhost:80", "127.0.0.1", "127.0.0.1:80"},
		{"tcp6", "localhost:80", "::1", "[::1]:80"},
		{"tcp", "[::1]:http", "::1", "[::1]:80"},
		{"tcp", "eth.example:80", "eth.example", "eth.example:80"},
	} {
		got := listen(t.Context(), c, tt.network, tt.address)
		var d wire.TCPIPForward
		req := want(t, "it asks", server, new(wire.GlobalRequest))
		if err := wire.ParseBody(req.Data, &d); err != nil || d.Addr != tt.host || d.Port != 80 {
			t.Errorf("%s %s: asked for %+v, %v", tt.network, tt.address, d, err)
		}
		send(t, server, &wire.RequestSuccess{})
		r := <-got
		if r.err != nil || r.l.Addr().String() != tt.shown {
			t.Fatalf("%s %s: listens on %v, %v", tt.network, tt.address, r.l.Addr(), r.err)
		}
		r.l.Close()
		want(t, "it cancels", server, new(wire.GlobalRequest))
	}
	for network, address := range map[string]string{"tcp": "nothing", "udp": "localhost:80", "unix": "", "tcp4": "a:nonsense"} {
		if _, err := c.Listen(t.Context(), network, address); err == nil {
			t.Errorf("%s %q is listened on", network, address)
		}
	}
}

func TestListenPath(t *testing.T) {
	c, server := scripted(t)
	got := listen(t.Context(), c, "unix", "/run/s")
	req := want(t, "it asks", server, new(wire.GlobalRequest))
	var d wire.StreamlocalForward
	if err := wire.ParseBody(req.Data, &d); err != nil || req.Type != wire.GlobalStreamlocalForward || !req.WantReply || d.Path != "/run/s" {
		t.Fatalf("asked %+v %+v, %v", req, d, err)
	}
	send(t, server, &wire.RequestSuccess{}, forwardedPath(7, "/run/s"), forwardedPath(8, "/run/t"))
	r := <-got
	if r.err != nil || r.l.Addr().Network() != "unix" || r.l.Addr().String() != "/run/s" {
		t.Fatalf("listens on %v, %v", r.l.Addr(), r.err)
	}
	if m := want(t, "another path is refused", server, new(wire.ChannelOpenFailure)); m.RecipientChannel != 8 {
		t.Errorf("channel %d is refused", m.RecipientChannel)
	}
	nc, err := r.l.Accept()
	if err != nil || nc.LocalAddr().String() != "/run/s" {
		t.Fatal(nc.LocalAddr(), err)
	}
	want(t, "it is accepted", server, new(wire.ChannelOpenConfirmation))
	r.l.Close()
	req = want(t, "it cancels", server, new(wire.GlobalRequest))
	if err := wire.ParseBody(req.Data, &d); err != nil || req.Type != wire.GlobalCancelStreamlocalForward || d.Path != "/run/s" {
		t.Errorf("cancelled %+v %+v, %v", req, d, err)
	}
}

func TestListenRefused(t *testing.T) {
	c, server := scripted(t)
	for network, address := range map[string]string{"tcp": "localhost:8080", "unix": "/run/s"} {
		got := listen(t.Context(), c, network, address)
		want(t, "it asks", server, new(wire.GlobalRequest))
		send(t, server, &wire.RequestFailure{})
		err := (<-got).err
		e, ok := errors.AsType[*adit.RemoteListenError](err)
		if !ok || !strings.Contains(err.Error(), "the server refused to listen on ") || network == "tcp" && (e.Host != "localhost" || e.Port != 8080) || network == "unix" && e.Path != "/run/s" {
			t.Errorf("%s: %v, %+v", network, err, e)
		}
	}
	// Answers that don't say which port was chosen.
	for _, reply := range []string{"", "\x00\x00\x00", "\x00\x00\x00\x00", "\x00\x01\x00\x00", "\x00\x00\x00\x50\x00", "\xff\xff\xff\xff"} {
		got := listen(t.Context(), c, "tcp", "localhost:0")
		want(t, "it asks", server, new(wire.GlobalRequest))
		send(t, server, &wire.RequestSuccess{Data: []byte(reply)})
		if err := (<-got).err; err == nil || !strings.Contains(err.Error(), "which port") {
			t.Errorf("reply %q: %v", reply, err)
		}
	}
}

func TestListenTwice(t *testing.T) {
	c, server := scripted(t)
	got := listen(t.Context(), c, "tcp", "localhost:8080")
	want(t, "it asks", server, new(wire.GlobalRequest))
	send(t, server, &wire.RequestSuccess{})
	r := <-got
	if _, err := c.Listen(t.Context(), "tcp", "localhost:8080"); err == nil || !strings.Contains(err.Error(), "listener there already") {
		t.Errorf("the same again: %v", err)
	}
	r.l.Close()
	want(t, "it cancels", server, new(wire.GlobalRequest))
	got = listen(t.Context(), c, "tcp", "localhost:8080")
	want(t, "after that it asks again", server, new(wire.GlobalRequest))
	send(t, server, &wire.RequestSuccess{})
	if r = <-got; r.err != nil {
		t.Error(r.err)
	}
}

// A listener that comes too late is given back, also if its port was not known.
func TestListenGivenUp(t *testing.T) {
	c, server := scripted(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	got := listen(ctx, c, "tcp", "localhost:0")
	want(t, "it asks", server, new(wire.GlobalRequest))
	reason := errors.New("out of patience")
	cancel(reason)
	if err := (<-got).err; !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
	send(t, server, &wire.RequestSuccess{Data: (&wire.TCPIPForwardReply{Port: 40000}).Append(nil)}, forwardedTCPIP(1, "localhost", 40000))
	req := want(t, "it cancels", server, new(wire.GlobalRequest))
	var d wire.TCPIPForward
	if err := wire.ParseBody(req.Data, &d); err != nil || req.Type != wire.GlobalCancelTCPIPForward || d.Port != 40000 {
		t.Errorf("cancelled %+v %+v, %v", req, d, err)
	}
	want(t, "its connection is refused", server, new(wire.ChannelOpenFailure))
	if _, err := c.Listen(ctx, "tcp", "localhost:0"); !errors.Is(err, reason) {
		t.Errorf("with an ended context: %v", err)
	}
}

// The end of the connection ends a request, and wakes Accept.
func TestListenConnectionEnds(t *testing.T) {
	c, server := scripted(t)
	got := listen(t.Context(), c, "tcp", "localhost:1")
	want(t, "it asks", server, new(wire.GlobalRequest))
	send(t, server, &wire.RequestSuccess{})
	r := <-got
	asking := listen(t.Context(), c, "tcp", "localhost:2")
	want(t, "it asks", server, new(wire.GlobalRequest))
	accepted := make(chan error, 1)
	go func() { // ends with the connection
		_, err := r.l.Accept()
		accepted <- err
	}()
	server.Abort(wire.DisconnectByApplication, "bye")
	for _, err := range []error{<-accepted, (<-asking).err} {
		if e, ok := errors.AsType[*adit.DisconnectError](err); !ok || e.Text != "bye" {
			t.Errorf("got %v, want the server's reason", err)
		}
	}
	r.l.Close()
}

// A flood of connections that nobody accepts is bounded and answered.
func TestListenBacklog(t *testing.T) {
	const flood = 20000
	c, server := scripted(t)
	got := listen(t.Context(), c, "tcp", "localhost:8080")
	want(t, "it asks", server, new(wire.GlobalRequest))
	send(t, server, &wire.RequestSuccess{})
	r := <-got
	before := runtime.NumGoroutine()
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := range flood {
			if err := server.WritePacket(forwardedTCPIP(uint32(i), "localhost", 8080).Append(nil), nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	refused := func(n int, reason uint32) {
		t.Helper()
		for range n {
			if m := want(t, "one too many", server, new(wire.ChannelOpenFailure)); m.Reason != reason {
				t.Fatalf("refused with %+v, want %d", m, reason)
			}
		}
	}
	refused(flood-adit.Backlog, wire.OpenResourceShortage)
	sent.Wait()
	// Each that waits has the goroutine of its open.
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+adit.Backlog; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
	nc, err := r.l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "one is accepted", server, new(wire.ChannelOpenConfirmation))
	nc.Close()
	want(t, "and closed", server, new(wire.ChannelClose))
	r.l.Close()
	got1 := map[byte]int{}
	for range adit.Backlog { // the others' refusals, and the cancel, in any order
		p, err := server.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		got1[p[0]]++
	}
	if got1[wire.NumChannelOpenFailure] != adit.Backlog-1 || got1[wire.NumGlobalRequest] != 1 {
		t.Errorf("closing sent %v, want %d refusals and a cancel", got1, adit.Backlog-1)
	}
}

// Connections that were accepted are net.Conns in every respect.
func TestListenNetConn(t *testing.T) {
	c, m := scriptedMux(t, mux.Config{Global: listensAt(40000)})
	l, err := c.Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		var wg sync.WaitGroup
		var aerr error
		wg.Go(func() { c1, aerr = l.Accept() })
		d := wire.ForwardedTCPIP{Addr: "localhost", Port: 40000, OriginatorAddr: "::1", OriginatorPort: 1}
		c2, err = m.Open(t.Context(), wire.ChannelForwardedTCPIP, d.Append(nil), mux.Options{})
		wg.Wait()
		if err = errors.Join(err, aerr); err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

// A server on our side is reached by who connects at the server.
func TestListenHTTP(t *testing.T) {
	c, m := scriptedMux(t, mux.Config{Global: listensAt(40000)})
	l, err := c.Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s to %s", r.RemoteAddr, r.URL.Path)
	})}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }() // ends with Close
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := wire.ForwardedTCPIP{Addr: "localhost", Port: 40000, OriginatorAddr: "192.0.2.7", OriginatorPort: 4711}
		return m.Open(ctx, wire.ChannelForwardedTCPIP, d.Append(nil), mux.Options{})
	}}
	get(t, tr, "http://host/page", "192.0.2.7:4711 to /page")
	if err := web.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
}

// Accepting and closing race without an answer lost or given twice.
func TestListenCloseRace(t *testing.T) {
	c, m := scriptedMux(t, mux.Config{Global: listensAt(40000)})
	for range 100 {
		l, err := c.Listen(t.Context(), "tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				d := wire.ForwardedTCPIP{Addr: "localhost", Port: 40000, OriginatorAddr: "::1", OriginatorPort: 1}
				ch, err := m.Open(t.Context(), wire.ChannelForwardedTCPIP, d.Append(nil), mux.Options{})
				if err == nil {
					io.Copy(io.Discard, ch)
					ch.Close()
				} else if _, ok := errors.AsType[*mux.OpenError](err); !ok {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if nc, err := l.Accept(); err == nil {
					nc.Close()
				} else if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			})
		}
		wg.Go(func() { runtime.Gosched(); l.Close() })
		wg.Wait()
	}
}
