package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// open is a channel that a server wants to open: what it gets.
type open struct {
	here, there *duplex // there is the server's end
	accepted    chan struct{}
	reason      uint32
	text        string
}

func newOpen() *open {
	o := &open{accepted: make(chan struct{})}
	o.here, o.there = newDuplex()
	return o
}

func (o *open) Accept() (Conn, error) {
	close(o.accepted)
	return o.here, nil
}

func (o *open) Reject(reason uint32, text string) error {
	o.reason, o.text = reason, text
	o.there.Close()
	return nil
}

// opened serves a channel. wait returns what Serve did.
func opened(ctx context.Context, f *Forwarder, s Session) (o *open, wait func() error) {
	o = newOpen()
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx, s, o) }() // ends when wait returns
	return o, func() error { return <-done }
}

// remoteSSH is what a login of a program at the server does over its channel. It
// fails the test unless it is signed for.
func remoteSSH(t testing.TB, o *open, s Session) {
	t.Helper()
	c := NewClient(o.there)
	c.Bind(t.Context(), Binding{Session: s}) // its answer decides nothing
	ids, err := c.List(t.Context())
	if err != nil || len(ids) == 0 {
		t.Fatalf("list over the channel: %d keys, %v", len(ids), err)
	}
	user := testKeys.user.PublicKey()
	data := loginData(s.ID, "alice", wire.MethodHostbound, user.Type(), ids[0].Blob, s.HostKey)
	sig, err := c.Sign(t.Context(), ids[0].Blob, data, 0)
	if err != nil {
		t.Fatalf("sign over the channel: %v", err)
	}
	if err := user.Verify(data, sig); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// Logins of a server's programs, one after the other and at once, before agents
// of all kinds. Each has a connection of its own, which is bound to the way that it
// takes, and nothing is left behind.
func TestForwarder(t *testing.T) {
	here := session(t, testKeys.hosts[0], "to the server")
	for name, tt := range map[string]struct {
		agent  func(*Keyring) func(net.Conn)
		serial bool
	}{
		"as ours":                {ours, false},
		"Windows":                {windowsAgent, false},
		"closes at a binding":    {closingAgent, false},
		"serves one at a time":   {ours, true},
		"Windows, one at a time": {windowsAgent, true},
	} {
		t.Run(name, func(t *testing.T) {
			testnet.Census(t)
			ring := ringWith(t, AddedKey{})
			path, ended := listenAgent(t, tt.serial, tt.agent(ring))
			f := &Forwarder{Dialer: Socket(path)}
			for i := range 2 {
				o, wait := opened(t.Context(), f, here)
				remoteSSH(t, o, session(t, testKeys.hosts[1], "login "+string(rune('0'+i))))
				if err := wait(); err != nil {
					t.Errorf("login %d: %v", i, err)
				}
			}
			var logins sync.WaitGroup
			for i := range 6 {
				logins.Go(func() {
					o, wait := opened(t.Context(), f, here)
					remoteSSH(t, o, session(t, testKeys.hosts[1], "parallel login "+string(rune('0'+i))))
					if err := wait(); err != nil {
						t.Errorf("parallel login %d: %v", i, err)
					}
				})
			}
			logins.Wait()
			ended() // hangs when a connection to the agent was left open
		})
	}
}

// ours serves a keyring.
func ours(r *Keyring) func(net.Conn) {
	return func(nc net.Conn) {
		c := r.NewConnection()
		answers(func(request []byte) []byte { return c.Answer(context.Background(), request) })(nc)
	}
}

// A key for the server alone can't be used by the server's programs: the channel
// is bound before they get it.
func TestForwarderDestinations(t *testing.T) {
	hop := func(i int) Hop {
		return Hop{Hostname: string(rune('a' + i)), Keys: []HostKey{{Blob: testKeys.hosts[i].PublicKey().Marshal()}}}
	}
	here, there := session(t, testKeys.hosts[0], "to a"), session(t, testKeys.hosts[1], "from a to b")
	for _, tt := range []struct {
		name   string
		ds     []Destination
		listed int
		signs  bool
	}{
		{"a only", []Destination{{To: hop(0)}}, 0, false},
		{"a, and from there b", []Destination{{To: hop(0)}, {From: hop(0), To: hop(1)}}, 1, true},
		{"a, and from there c", []Destination{{To: hop(0)}, {From: hop(0), To: hop(2)}}, 0, false},
		{"b from here", []Destination{{To: hop(1)}}, 0, false},
	} {
		path, ended := listenAgent(t, false, ours(ringWith(t, AddedKey{Destinations: tt.ds})))
		o, wait := opened(t.Context(), &Forwarder{Dialer: Socket(path)}, here)
		c := NewClient(o.there)
		if err := c.Bind(t.Context(), Binding{Session: there}); err != nil {
			t.Errorf("%s: bind: %v", tt.name, err)
		}
		ids, err := c.List(t.Context())
		if err != nil || len(ids) != tt.listed {
			t.Errorf("%s: %d keys are listed, %v, want %d", tt.name, len(ids), err, tt.listed)
		}
		key := testKeys.user.PublicKey()
		_, err = c.Sign(t.Context(), key.Marshal(), loginData(there.ID, "alice", wire.MethodHostbound, key.Type(), key.Marshal(), there.HostKey), 0)
		if (err == nil) != tt.signs {
			t.Errorf("%s: sign: %v", tt.name, err)
		}
		c.Close()
		if err := wait(); err != nil {
			t.Error(err)
		}
		ended()
	}
}

// An agent that can't be reached refuses the channel; one that starts later, or
// anew, is found.
func TestForwarderWithoutAgent(t *testing.T) {
	here := session(t, testKeys.hosts[0], "id")
	path, ended := listenAgent(t, false, ours(ringWith(t, AddedKey{})))
	f := &Forwarder{Dialer: Socket(path)}
	good := *Socket(path)
	ended()
	o, wait := opened(t.Context(), f, here)
	if err := wait(); err == nil || o.reason != wire.OpenConnectFailed {
		t.Errorf("without an agent: %v, reason %d, want %d", err, o.reason, wire.OpenConnectFailed)
	}
	path, ended = listenAgent(t, false, ours(ringWith(t, AddedKey{})))
	good = *Socket(path)
	f.Dial = good.Dial
	o, wait = opened(t.Context(), f, here)
	remoteSSH(t, o, session(t, testKeys.hosts[1], "later"))
	if err := wait(); err != nil {
		t.Error(err)
	}
	ended()
}

// A mute agent costs the channel its time, and then the channel.
func TestForwarderMuteAgent(t *testing.T) {
	here := session(t, testKeys.hosts[0], "id")
	synctest.Test(t, func(t *testing.T) {
		var agents sync.WaitGroup
		f := &Forwarder{Dialer: &Dialer{Dial: func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			agents.Go(func() { io.Copy(io.Discard, theirs) })
			return ours, nil
		}}}
		begin := time.Now()
		o, wait := opened(t.Context(), f, here)
		if err := wait(); err == nil || o.reason != wire.OpenConnectFailed || time.Since(begin) != bindLimit {
			t.Errorf("%v, reason %d after %v", err, o.reason, time.Since(begin))
		}
		agents.Wait()
	})
}

// Bytes pass as they are, ends of stream too, whatever they are.
func TestForwarderHalfClose(t *testing.T) {
	needHalfClose(t)
	path, ended := listenAgent(t, false, func(nc net.Conn) {
		request, err := readFrame(nc) // the binding
		if err != nil || request[0] != numExtension {
			t.Errorf("the first message is %x, %v", request, err)
		}
		writeFrame(nc, []byte{numFailure})
		rest, err := io.ReadAll(nc)
		if err != nil || string(rest) != "half a que" {
			t.Errorf("the agent got %q, %v", rest, err)
		}
		io.WriteString(nc, "all the same an answer")
	})
	o, wait := opened(t.Context(), &Forwarder{Dialer: Socket(path)}, session(t, testKeys.hosts[0], "id"))
	io.WriteString(o.there, "half a que")
	o.there.CloseWrite()
	got, err := io.ReadAll(o.there)
	if err != nil || string(got) != "all the same an answer" {
		t.Errorf("the channel got %q, %v", got, err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
	ended()
}

// The connection's end takes the channels to the agent with it.
func TestForwarderEnds(t *testing.T) {
	testnet.Census(t)
	for name, policy := range map[string]func(Use) error{"relay": nil, "filter": ReadOnly} {
		path, ended := listenAgent(t, false, ours(ringWith(t, AddedKey{})))
		ctx, end := context.WithCancel(t.Context())
		o, wait := opened(ctx, &Forwarder{Dialer: Socket(path), Policy: policy}, session(t, testKeys.hosts[0], "id"))
		<-o.accepted
		end()
		if err := wait(); err == nil {
			t.Errorf("%s: a channel that was cut off has ended in good order", name)
		}
		ended()
	}
}

// What a policy refuses never reaches the agent, and what it lets through works.
func TestForwarderPolicy(t *testing.T) {
	ring := ringWith(t, AddedKey{})
	path, ended := listenAgent(t, false, ours(ring))
	var mu sync.Mutex
	var audit []string
	f := &Forwarder{Dialer: Socket(path), Policy: ReadOnly, Audit: func(u Use, err error) {
		mu.Lock()
		defer mu.Unlock()
		word := u.Operation + u.Extension
		if err != nil {
			word += " refused"
		}
		audit = append(audit, word)
	}}
	o, wait := opened(t.Context(), f, session(t, testKeys.hosts[0], "id"))
	c := NewClient(o.there)
	ctx := t.Context()
	for name, err := range map[string]error{
		"add": c.Add(ctx, AddedKey{PrivateKey: testKeys.hostRaw[0]}), "remove": c.Remove(ctx, testKeys.user.PublicKey().Marshal()),
		"remove all": c.RemoveAll(ctx), "lock": c.Lock(ctx, []byte("word")),
	} {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want %v", name, err, ErrRefused)
		}
	}
	if _, err := c.Query(ctx); !errors.Is(err, ErrRefused) {
		t.Errorf("query: got %v", err)
	}
	remoteSSH(t, o, session(t, testKeys.hosts[1], "login"))
	if err := wait(); err != nil {
		t.Error(err)
	}
	if ring.Len() != 1 {
		t.Errorf("%d keys are left, want 1", ring.Len())
	}
	for _, want := range []string{"add refused", "remove refused", "remove all refused", "lock refused", "extensionquery refused", "extension" + extSessionBind, "list", "sign"} {
		if !slices.Contains(audit, want) {
			t.Errorf("the audit %q has no %q", audit, want)
		}
	}
	ended()
}

// To an agent that closes when it is bound, a use from a server looks like one from
// here: it may not change the agent, whatever the policy.
func TestForwarderUnbound(t *testing.T) {
	ring := ringWith(t, AddedKey{})
	path, ended := listenAgent(t, false, closingAgent(ring))
	o, wait := opened(t.Context(), &Forwarder{Dialer: Socket(path)}, session(t, testKeys.hosts[0], "id"))
	c := NewClient(o.there)
	if err := c.RemoveAll(t.Context()); !errors.Is(err, ErrRefused) || ring.Len() != 1 {
		t.Errorf("remove all over an unbound channel: %v, %d keys are left", err, ring.Len())
	}
	remoteSSH(t, o, session(t, testKeys.hosts[1], "login"))
	if err := wait(); err != nil {
		t.Error(err)
	}
	ended()
}

// A program at the server that goes while a person is asked is not waited for.
func TestForwarderHangUp(t *testing.T) {
	for name, policy := range map[string]func(Use) error{"relay": nil, "filter": ReadOnly} {
		asked := make(chan struct{})
		path, ended := listenAgent(t, false, func(nc net.Conn) {
			readFrame(nc)
			writeFrame(nc, []byte{numSuccess})
			readFrame(nc)
			close(asked)
			io.ReadAll(nc) // a person thinks until the one who asked has gone
		})
		o, wait := opened(t.Context(), &Forwarder{Dialer: Socket(path), Policy: policy}, session(t, testKeys.hosts[0], "id"))
		writeFrame(o.there, []byte{numRequestKeys})
		<-asked
		o.there.CloseWrite()
		if rest, err := io.ReadAll(o.there); err != nil || len(rest) > 0 {
			t.Errorf("%s: got %x, %v", name, rest, err)
		}
		wait()
		ended()
	}
}

// Malformed requests end a filtered channel, and nothing else.
func TestForwarderMalformed(t *testing.T) {
	path, ended := listenAgent(t, false, ours(ringWith(t, AddedKey{})))
	f := &Forwarder{Dialer: Socket(path), Policy: ReadOnly}
	for _, in := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x00\x00", "\x00\x00\x00\x09\x0b"} {
		o, wait := opened(t.Context(), f, session(t, testKeys.hosts[0], "id"))
		io.WriteString(o.there, in)
		o.there.CloseWrite()
		io.ReadAll(o.there)
		if err := wait(); err == nil {
			t.Errorf("%q: ended in good order", in)
		}
	}
	o, wait := opened(t.Context(), f, session(t, testKeys.hosts[0], "id"))
	remoteSSH(t, o, session(t, testKeys.hosts[1], "login"))
	wait()
	ended()
}

// Many uses leave nothing behind.
func TestForwarderMany(t *testing.T) {
	testnet.Census(t)
	sequential, parallel := 1000, 200
	if testing.Short() {
		sequential, parallel = 50, 40
	}
	path, ended := listenAgent(t, false, ours(ringWith(t, AddedKey{})))
	f := &Forwarder{Dialer: Socket(path)}
	here := session(t, testKeys.hosts[0], "id")
	login := session(t, testKeys.hosts[1], "login")
	for range sequential {
		o, wait := opened(t.Context(), f, here)
		remoteSSH(t, o, login)
		if err := wait(); err != nil {
			t.Fatal(err)
		}
	}
	var uses sync.WaitGroup
	for range parallel {
		uses.Go(func() {
			o, wait := opened(t.Context(), f, here)
			remoteSSH(t, o, login)
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
	uses.Wait()
	ended()
}
