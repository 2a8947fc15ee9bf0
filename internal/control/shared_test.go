//go:build unix

package control

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/userauth"
	"github.com/adit-ssh/adit/internal/wire"
)

// shared is a master, the server behind it and what both said.
type shared struct {
	*Master
	t       *testing.T
	path    string
	client  *adit.Client
	server  *mux.Mux
	notices chan string
	over    chan string // commands that have ended

	mu     sync.Mutex
	asked  []string // guarded by mu: requests of sessions, with their text
	opened []string // guarded by mu: types of channels
}

// share starts a master whose server has sessions that obey the words of run.
func share(t *testing.T, set func(*Config)) *shared {
	t.Helper()
	testnet.Census(t)
	s := &shared{t: t, path: filepath.Join(t.TempDir(), "cm"), notices: make(chan string, 100), over: make(chan string, 100)}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	host, user := testpeer.NewKey(t, "ed25519"), testpeer.NewKey(t, "ed25519")
	served := make(chan *mux.Mux, 1)
	go func() { // ends with the login
		nc, err := l.Accept()
		if err != nil {
			close(served)
			return
		}
		tc, err := transport.Server(context.Background(), nc, &transport.Config{HostKeys: []gossh.Signer{host.Signer}})
		if err == nil {
			_, err = userauth.Server(context.Background(), tc, userauth.ServerConfig{
				PublicKey: func(context.Context, string, gossh.PublicKey, bool) userauth.Verdict { return userauth.Accept },
			})
		}
		if err != nil {
			close(served)
			return
		}
		served <- mux.New(tc, mux.Config{Open: s.open, Global: s.global, Server: true})
	}()
	s.client, err = adit.Dial(t.Context(), l.Addr().String(), &adit.Config{User: "u", CheckHostKey: adit.FixedHostKey(host.Public), Keys: adit.Keys(user.Signer)})
	if err != nil {
		t.Fatal(err)
	}
	s.server = <-served
	listener, err := Listen(s.path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Client: s.client, Host: "example", Notice: func(text string) { s.notices <- text }}
	if set != nil {
		set(&cfg)
	}
	s.Master = Serve(listener, cfg)
	t.Cleanup(func() {
		s.Close()
		s.client.Close()
		s.server.Close()
	})
	return s
}

// open is the server's: sessions, and direct-tcpip to an echo; port 1 refuses.
func (s *shared) open(p *mux.Pending) {
	s.mu.Lock()
	s.opened = append(s.opened, p.Type())
	s.mu.Unlock()
	switch p.Type() {
	case wire.ChannelSession:
		ch, err := p.Accept(mux.Options{Requests: true})
		if err == nil {
			s.run(ch)
		}
	case wire.ChannelDirectTCPIP, wire.ChannelDirectStreamlocal:
		var d wire.DirectTCPIP
		if wire.ParseBody(p.Data(), &d) == nil && d.Port == 1 {
			p.Reject(wire.OpenConnectFailed, "Connection refused")
			return
		}
		ch, err := p.Accept(mux.Options{})
		if err == nil {
			io.Copy(ch, ch)
			ch.CloseWrite()
			<-ch.Closed()
		}
	}
}

// run obeys a command: cat; fail, which ends with 7 and words on both streams;
// die, by a signal; hang, until the channel ends; refuse, which is not started.
func (s *shared) run(ch *mux.Channel) {
	for r := range ch.Requests() {
		var text wire.Text
		wire.ParseBody(r.Data, &text)
		said := r.Type
		switch r.Type {
		case wire.RequestExec, wire.RequestSubsystem:
			said += " " + text.Value
		case wire.RequestEnv:
			var e wire.Env
			wire.ParseBody(r.Data, &e)
			said += " " + e.Name + "=" + e.Value
		case wire.RequestPty:
			var p wire.PtyReq
			wire.ParseBody(r.Data, &p)
			said += " " + p.Term
		}
		s.mu.Lock()
		s.asked = append(s.asked, said)
		s.mu.Unlock()
		switch {
		case r.Type == wire.RequestPty:
			r.Reply(text.Value != "bad")
			continue
		case r.Type != wire.RequestExec && r.Type != wire.RequestShell && r.Type != wire.RequestSubsystem:
			r.Reply(true)
			continue
		case text.Value == "refuse":
			r.Reply(false)
			continue
		}
		r.Reply(true)
		exit := func(n uint32) {
			ch.SendRequest(context.Background(), wire.RequestExitStatus, false, (&wire.ExitStatus{Status: n}).Append(nil))
		}
		switch text.Value {
		case "hang":
			<-ch.Closed()
		case "fail":
			io.WriteString(ch, "out")
			io.WriteString(ch.Stderr(), "err")
			exit(7)
		case "die":
			ch.SendRequest(context.Background(), wire.RequestExitSignal, false, (&wire.ExitSignal{Signal: "KILL"}).Append(nil))
		default:
			io.Copy(ch, ch)
			exit(0)
		}
		ch.CloseWrite()
		ch.Close()
		s.over <- text.Value
	}
}

// global agrees to listen.
func (s *shared) global(name string, data []byte) (bool, []byte) {
	var d wire.TCPIPForward
	if wire.ParseBody(data, &d) == nil && d.Port == 0 {
		return true, (&wire.TCPIPForwardReply{Port: 4711}).Append(nil)
	}
	return d.Port != 1, nil
}

func (s *shared) requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, "; ")
}

func (s *shared) dial() *Client {
	s.t.Helper()
	c, err := Dial(s.t.Context(), s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// ended is how a session ended, and what it wrote.
type ended struct {
	out, err string
	status   int
	fault    error
}

// runIn runs a session of c with pipes for its streams.
func runIn(t *testing.T, c *Client, request Session, input string) ended {
	t.Helper()
	in, feed := pipe(t)
	outR, out := pipe(t)
	errR, errs := pipe(t)
	p, err := c.Start(request, in, out, errs)
	in.Close()
	out.Close()
	errs.Close()
	if err != nil {
		feed.Close()
		return ended{fault: err}
	}
	var e ended
	var wg sync.WaitGroup
	wg.Go(func() { io.WriteString(feed, input); feed.Close() })
	wg.Go(func() { b, _ := io.ReadAll(outR); e.out = string(b) })
	wg.Go(func() { b, _ := io.ReadAll(errR); e.err = string(b) })
	e.status, e.fault = p.Wait(t.Context(), func() { e.err += "[cooked]" })
	wg.Wait()
	return e
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}
