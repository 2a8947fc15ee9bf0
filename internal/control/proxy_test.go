//go:build unix

package control

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/proxied"
	"github.com/adit-ssh/adit/internal/wire"
)

// through is a mux of a client's own, through the master.
func (s *shared) through(cfg mux.Config) *mux.Mux {
	s.t.Helper()
	nc, err := s.dial().Proxy()
	if err != nil {
		s.t.Fatal(err)
	}
	m := mux.New(proxied.New(nc), cfg)
	s.t.Cleanup(func() { m.Close() })
	return m
}

// x/crypto's client runs sessions and connections through the master, with exit
// status, standard error and variables.
func TestProxyForXCrypto(t *testing.T) {
	s := share(t, nil)
	nc, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	conn, channels, requests, err := gossh.NewControlClientConn(nc)
	if err != nil {
		t.Fatal(err)
	}
	c := gossh.NewClient(conn, channels, requests)
	defer c.Close()
	ss, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	ss.Stdout, ss.Stderr = &out, &errs
	if err := ss.Setenv("A", "1"); err != nil {
		t.Error(err)
	}
	err = ss.Run("fail")
	if exit, ok := err.(*gossh.ExitError); !ok || exit.ExitStatus() != 7 || out.String() != "out" || errs.String() != "err" {
		t.Errorf("got %v, %q and %q, want status 7, out and err", err, out.String(), errs.String())
	}
	if got, want := s.requests(), "env A=1; exec fail"; got != want {
		t.Errorf("the server was asked for %q, want %q", got, want)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			nc, err := c.Dial("tcp", "db:5432")
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			text := strings.Repeat(fmt.Sprint(i), 1<<20)
			go io.WriteString(nc, text) // ends with the reading of as much
			got := make([]byte, len(text))
			if _, err := io.ReadFull(nc, got); err != nil || string(got) != text {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if _, err := c.Dial("tcp", "db:1"); err == nil || !strings.Contains(err.Error(), "Connection refused") {
		t.Errorf("a target that refuses: got %v", err)
	}
	select {
	case notice := <-s.notices:
		t.Error(notice)
	default:
	}
	if t.Failed() {
		t.Logf("the shared connection: %v; the server's end: %v", s.client.Err(), s.server.Err())
	}
}

// A command whose input comes right behind it gets it, and its status arrives.
func TestProxyPipelines(t *testing.T) {
	s := share(t, nil)
	m := s.through(mux.Config{})
	for range 50 {
		ch, err := m.Open(t.Context(), wire.ChannelSession, nil, mux.Options{Requests: true})
		if err != nil {
			t.Fatal(err)
		}
		ch.Ask(wire.RequestPty, (&wire.PtyReq{}).Append(nil))
		ch.Ask(wire.RequestExec, (&wire.Text{Value: "cat"}).Append(nil))
		io.WriteString(ch, "input")
		ch.CloseWrite()
		if got, err := io.ReadAll(ch); string(got) != "input" {
			t.Fatalf("got %q, %v", got, err)
		}
		var status *wire.ExitStatus
		for r := range ch.Requests() {
			if r.Type == wire.RequestExitStatus {
				status = new(wire.ExitStatus)
				wire.ParseBody(r.Data, status)
			}
		}
		if status == nil || status.Status != 0 {
			t.Fatalf("exit status %v, want 0", status)
		}
	}
}

// Remote forwards are passed on; what would concern all who share is not.
func TestProxyGlobalRequests(t *testing.T) {
	s := share(t, nil)
	opened := make(chan wire.ForwardedTCPIP, 1)
	m := s.through(mux.Config{Open: func(p *mux.Pending) {
		var d wire.ForwardedTCPIP
		wire.ParseBody(p.Data(), &d)
		if ch, err := p.Accept(mux.Options{}); err == nil {
			io.WriteString(ch, "hello")
			ch.Close()
		}
		opened <- d
	}})
	ask := func(name string, addr string, port uint32) (bool, uint32) {
		t.Helper()
		ok, reply, err := m.Request(t.Context(), name, true, (&wire.TCPIPForward{Addr: addr, Port: port}).Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		var chosen wire.TCPIPForwardReply
		wire.ParseBody(reply, &chosen)
		return ok, chosen.Port
	}
	if ok, port := ask(wire.GlobalTCPIPForward, "localhost", 0); !ok || port != 4711 {
		t.Errorf("port 0: got %v, %d, want 4711", ok, port)
	}
	if ok, _ := ask(wire.GlobalTCPIPForward, "", 8080); !ok {
		t.Error("port 8080 was refused")
	}
	if ok, _ := ask(wire.GlobalTCPIPForward, "", 1); ok {
		t.Error("what the server refuses is granted")
	}
	if ok, _ := ask(wire.GlobalTCPIPForward, "", 65536); ok {
		t.Error("port 65536 is granted")
	}
	ch, err := s.server.Open(t.Context(), wire.ChannelForwardedTCPIP,
		(&wire.ForwardedTCPIP{Addr: "localhost", Port: 4711, OriginatorAddr: "192.0.2.1", OriginatorPort: 999}).Append(nil), mux.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(ch); string(got) != "hello" {
		t.Errorf("from the client: got %q, %v", got, err)
	}
	ch.Close()
	if got, want := <-opened, (wire.ForwardedTCPIP{Addr: "localhost", Port: 4711, OriginatorAddr: "192.0.2.1", OriginatorPort: 999}); got != want {
		t.Errorf("the client was told %+v, want %+v", got, want)
	}
	if ok, _ := ask(wire.GlobalCancelTCPIPForward, "localhost", 4711); !ok {
		t.Error("cancelling what there is was refused")
	}
	if ok, _ := ask(wire.GlobalCancelTCPIPForward, "localhost", 4711); ok {
		t.Error("cancelling what there is not was granted")
	}
	for _, name := range []string{wire.GlobalNoMoreSessions, wire.GlobalKeepalive, "unknown"} {
		if ok, _, err := m.Request(t.Context(), name, true, nil); ok || err != nil {
			t.Errorf("%s: got %v, %v, want a refusal", name, ok, err)
		}
	}
	if got := runIn(t, s.dial(), Session{Command: "fail"}, ""); got.status != 7 {
		t.Errorf("another client, after no-more-sessions: got %v", got)
	}
}

// A proxy client that goes, or breaks the protocol, takes its channels along and
// nothing else.
func TestProxyEnds(t *testing.T) {
	s := share(t, nil)
	for _, how := range []string{"gone", "data for no channel", "nonsense"} {
		nc, err := s.dial().Proxy()
		if err != nil {
			t.Fatal(err)
		}
		m := mux.New(proxied.New(nc), mux.Config{})
		ch, err := m.Open(t.Context(), wire.ChannelSession, nil, mux.Options{Requests: true})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := ch.SendRequest(t.Context(), wire.RequestExec, true, (&wire.Text{Value: "hang"}).Append(nil)); !ok {
			t.Fatal(err)
		}
		switch how {
		case "gone":
			m.Close()
		case "nonsense":
			nc.Write([]byte("\xff\xff\xff\xff\xff"))
		default:
			nc.Write([]byte{0, 0, 0, 10, 0, wire.NumChannelData, 0, 0, 0, 99, 0, 0, 0, 0})
		}
		if got := <-s.over; got != "hang" {
			t.Errorf("%s: %q ended", how, got)
		}
		<-m.Done()
		m.Close()
	}
	s.Drain(t.Context())
	if err := s.client.Err(); err != nil {
		t.Errorf("the shared connection ended: %v", err)
	}
	// And one that is there when the master ends.
	m := s.through(mux.Config{})
	if _, err := m.Open(t.Context(), wire.ChannelSession, nil, mux.Options{}); err != nil {
		t.Fatal(err)
	}
	s.Master.Close()
	<-m.Done()
}

// channelPair is a session channel between two muxes: of who opened it, and of who
// was asked.
func channelPair(t *testing.T) (opener, asked *mux.Channel) {
	t.Helper()
	a, b := net.Pipe()
	accepted := make(chan *mux.Channel, 1)
	o := mux.Options{Requests: true, Stderr: true}
	server := mux.New(proxied.New(b), mux.Config{Open: func(p *mux.Pending) {
		ch, _ := p.Accept(o)
		accepted <- ch
	}})
	client := mux.New(proxied.New(a), mux.Config{})
	t.Cleanup(func() { client.Close(); server.Close() })
	opener, err := client.Open(t.Context(), wire.ChannelSession, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return opener, <-accepted
}

// Input that comes before a program was asked for waits for that: sshd would drop
// it.
func TestProxyHoldsEarlyInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, down := channelPair(t)
		up, server := channelPair(t)
		p := &proxy{lifetime: t.Context()}
		var relaying sync.WaitGroup
		relaying.Go(func() { p.relay(down, up) })
		var got atomic.Int64
		relaying.Go(func() {
			for b := make([]byte, 100); ; {
				n, err := server.Read(b)
				if got.Add(int64(n)); err != nil {
					return
				}
			}
		})
		relaying.Go(func() {
			for r := range server.Requests() {
				got.Add(1000) // the input is behind it
				r.Reply(true)
			}
		})
		io.WriteString(client, "early")
		client.SendRequest(t.Context(), wire.RequestEnv, true, nil)
		client.CloseWrite()
		synctest.Wait()
		if n := got.Load(); n != 1000 {
			t.Errorf("the server has %d, want 1000: the variable and no input", n)
		}
		if ok, err := client.SendRequest(t.Context(), wire.RequestExec, true, nil); !ok {
			t.Error(err)
		}
		synctest.Wait()
		if n := got.Load(); n != 2005 {
			t.Errorf("the server has %d, want 2005: all", n)
		}
		client.Close()
		server.Close()
		relaying.Wait()
	})
}
