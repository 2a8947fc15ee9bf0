package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// proxyTo returns a Proxy of agents that are served as handles say, and a way to
// ask it over a new connection.
func proxyTo(t testing.TB, handles ...func(net.Conn)) (p *Proxy, ask func(request []byte) []byte) {
	t.Helper()
	p = &Proxy{}
	for _, h := range handles {
		path, _ := listenAgent(t, false, h)
		p.Upstreams = append(p.Upstreams, Socket(path))
	}
	c := p.connect(nil)
	return p, func(request []byte) []byte { return c.Answer(t.Context(), request) }
}

func wantReply(t testing.TB, what string, got []byte, want byte) {
	t.Helper()
	if len(got) == 0 || got[0] != want {
		t.Fatalf("%s: got %x, want message %d", what, got, want)
	}
}

// A client that pipes all logins through one connection: each of its logins is
// served, before agents that close or refuse at the second.
func TestProxyShields(t *testing.T) {
	user := testKeys.user.PublicKey()
	for name, kind := range map[string]func(*Keyring) func(net.Conn){"ours": ours, "Windows": windowsAgent, "closing": closingAgent} {
		for _, serial := range []bool{false, true} {
			testnet.Census(t)
			path, ended := listenAgent(t, serial, kind(ringWith(t, AddedKey{})))
			p := &Proxy{Upstreams: []*Dialer{Socket(path)}}
			c := p.connect(nil)
			ask := func(request []byte) []byte { return c.Answer(t.Context(), request) }
			wantReply(t, name+": bind for forwarding", ask(binding(session(t, testKeys.hosts[0], "fwd"), true)), numSuccess)
			for _, id := range []string{"login 1", "login 2", "login 2", "login 3"} {
				s := session(t, testKeys.hosts[1], id)
				wantReply(t, name+": bind", ask(binding(s, false)), numSuccess)
				wantReply(t, name+": list", ask([]byte{numRequestKeys}), numKeys)
				data := loginData(s.ID, "alice", wire.MethodHostbound, user.Type(), user.Marshal(), s.HostKey)
				wantReply(t, name+": sign", ask(signing(user, string(data), 0)), numSignature)
			}
			wantReply(t, name+": query", ask(extension(extQuery)), numExtensionReply)
			wantReply(t, name+": an extension that nobody knows", ask(extension("unheard@example.com")), numFailure)
			wantReply(t, name+": a message that nobody knows", ask([]byte{200}), numFailure)
			wantReply(t, name+": nothing", ask(nil), numFailure)
			bad := session(t, testKeys.hosts[1], "bad")
			bad.ID = []byte("other")
			wantReply(t, name+": a wrong proof", ask(binding(bad, false)), numExtensionFailure)
			wantReply(t, name+": list at last", ask([]byte{numRequestKeys}), numKeys)
			// Whoever shares the connection may not change the agent for the others.
			wantReply(t, name+": add", ask(addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[0]})), numFailure)
			ended()
		}
	}
}

// What a Proxy makes of bindings allows what a connection of its own would, and
// nothing else.
func TestProxyDestinations(t *testing.T) {
	user := testKeys.user.PublicKey()
	hop := func(i int) Hop {
		return Hop{Hostname: string(rune('a' + i)), Keys: []HostKey{{Blob: testKeys.hosts[i].PublicKey().Marshal()}}}
	}
	ring := ringWith(t, AddedKey{Destinations: []Destination{{To: hop(0)}, {From: hop(0), To: hop(1)}}})
	a, b, c := session(t, testKeys.hosts[0], "a"), session(t, testKeys.hosts[1], "b"), session(t, testKeys.hosts[2], "c")
	for _, tt := range []struct {
		name string
		way  []Binding
		want byte // to a login at the last
	}{
		{"a", []Binding{{a, false}}, numSignature},
		{"b", []Binding{{b, false}}, numFailure},
		{"a, b", []Binding{{a, true}, {b, false}}, numSignature},
		{"a, c", []Binding{{a, true}, {c, false}}, numFailure},
		{"b, after a login at c", []Binding{{a, true}, {c, false}, {b, false}}, numSignature},
		{"c, after a login at b", []Binding{{a, true}, {b, false}, {c, false}}, numFailure},
		{"b, after a login at a: the way is from here", []Binding{{a, false}, {b, false}}, numFailure},
		{"a, forwarded", []Binding{{a, true}}, numFailure},
	} {
		_, ask := proxyTo(t, ours(ring))
		for _, w := range tt.way {
			wantReply(t, tt.name, ask(binding(w.Session, w.Forwarding)), numSuccess)
		}
		last := tt.way[len(tt.way)-1].Session
		data := loginData(last.ID, "alice", wire.MethodHostbound, user.Type(), user.Marshal(), last.HostKey)
		wantReply(t, tt.name, ask(signing(user, string(data), 0)), tt.want)
	}
}

// Several agents are one; those that are not there or say nonsense are left out.
func TestProxyMerges(t *testing.T) {
	first, second := ringWith(t, AddedKey{Comment: "first"}), ringWith(t, AddedKey{Comment: "the same key"})
	if err := second.Add(AddedKey{PrivateKey: testKeys.hostRaw[0], Comment: "second"}); err != nil {
		t.Fatal(err)
	}
	junk := func(nc net.Conn) { readFrame(nc); io.WriteString(nc, "junk and more of it") }
	p, ask := proxyTo(t, ours(first), junk, ours(second))
	p.Upstreams = append(p.Upstreams, Socket("/nowhere"))
	reply := ask([]byte{numRequestKeys})
	wantReply(t, "list", reply, numKeys)
	ids, err := parseKeys(reply[1:])
	if err != nil || len(ids) != 2 || ids[0].Comment != "first" || ids[1].Comment != "second" {
		t.Fatalf("got %+v, %v", ids, err)
	}
	wantReply(t, "sign with the first's", ask(signing(testKeys.user.PublicKey(), "data", 0)), numSignature)
	wantReply(t, "sign with the second's", ask(signing(testKeys.hosts[0].PublicKey(), "data", 0)), numSignature)
	wantReply(t, "sign with nobody's", ask(signing(testKeys.other.PublicKey(), "data", 0)), numFailure)
	wantReply(t, "add", ask(addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[1]})), numSuccess)
	if first.Len() != 2 || second.Len() != 2 {
		t.Errorf("a key was added to the wrong agent: they have %d and %d", first.Len(), second.Len())
	}
	wantReply(t, "remove", ask(removing(testKeys.hosts[0].PublicKey())), numSuccess)
	if second.Len() != 1 {
		t.Error("a key was not removed where it was")
	}
	// Without having listed first.
	_, ask = proxyTo(t, ours(first), ours(second))
	wantReply(t, "sign unseen", ask(signing(testKeys.user.PublicKey(), "data", 0)), numSignature)
	p, ask = proxyTo(t, ours(first), ours(second))
	p.Upstreams = append(p.Upstreams, Socket("/nowhere"))
	wantReply(t, "remove all", ask([]byte{numRemoveAll}), numSuccess)
	if first.Len()+second.Len() != 0 {
		t.Error("keys are left")
	}
	_, ask = proxyTo(t)
	wantReply(t, "nobody behind it", ask([]byte{numRequestKeys}), numFailure)
}

// An agent that is lost in the middle is asked once more for what can be asked
// twice.
func TestProxyRetries(t *testing.T) {
	ring := ringWith(t, AddedKey{})
	var asked, lose atomic.Int32
	flaky := func(nc net.Conn) {
		c := ring.NewConnection()
		answers(func(request []byte) []byte {
			asked.Add(1)
			if lose.Add(-1) >= 0 {
				return nil
			}
			return c.Answer(context.Background(), request)
		})(nc)
	}
	_, ask := proxyTo(t, flaky)
	wantReply(t, "list", ask([]byte{numRequestKeys}), numKeys)
	for _, tt := range []struct {
		name    string
		request []byte
		lose    int32
		want    byte
		asked   int32
	}{
		{"list", []byte{numRequestKeys}, 1, numKeys, 2},
		{"sign", signing(testKeys.user.PublicKey(), "data", 0), 1, numSignature, 2},
		{"sign, lost twice", signing(testKeys.user.PublicKey(), "data", 0), 2, numFailure, 2},
		{"add", addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[0]}), 1, numFailure, 1},
		{"lock", wire.AppendString([]byte{numLock}, "word"), 1, numFailure, 1},
	} {
		asked.Store(0)
		lose.Store(tt.lose)
		wantReply(t, tt.name, ask(tt.request), tt.want)
		if got := asked.Load(); got != tt.asked {
			t.Errorf("%s: the agent was asked %d times, want %d", tt.name, got, tt.asked)
		}
	}
}

// A mute agent does not keep the others' keys from being listed.
func TestProxyMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := inBubble(ringWith(t, AddedKey{}))
		var agents sync.WaitGroup
		dialer := func(handle func(net.Conn)) *Dialer {
			return &Dialer{Dial: func(context.Context) (net.Conn, error) {
				here, there := net.Pipe()
				agents.Go(func() {
					handle(there)
					there.Close()
				})
				return here, nil
			}}
		}
		p := &Proxy{Upstreams: []*Dialer{dialer(func(nc net.Conn) { io.Copy(io.Discard, nc) }), dialer(ours(ring))}}
		begin := time.Now()
		reply := p.connect(nil).Answer(t.Context(), []byte{numRequestKeys})
		if ids, err := parseKeys(reply[1:]); err != nil || len(ids) != 1 || time.Since(begin) != listLimit {
			t.Errorf("%d keys, %v after %v, want 1 after %v", len(ids), err, time.Since(begin), listLimit)
		}
		agents.Wait()
	})
}

// What a policy refuses does not reach the agent.
func TestProxyPolicy(t *testing.T) {
	ring := ringWith(t, AddedKey{})
	p, ask := proxyTo(t, ours(ring))
	p.Policy = ReadOnly
	var said []error
	c := p.connect(func(r Request) error {
		if !r.Begun {
			said = append(said, r.Err)
		}
		return nil
	})
	wantReply(t, "remove all", c.Answer(t.Context(), []byte{numRemoveAll}), numFailure)
	if ring.Len() != 1 || len(said) != 1 || !errors.Is(said[0], ErrReadOnly) {
		t.Errorf("%d keys are left; the log says %v", ring.Len(), said)
	}
	wantReply(t, "list", ask([]byte{numRequestKeys}), numKeys)
}

// The Server serves a Proxy as it does a Keyring, also after the agent behind it
// was restarted.
func TestProxyServed(t *testing.T) {
	testnet.Census(t)
	ring := ringWith(t, AddedKey{})
	upstream, ended := listenAgent(t, false, ours(ring))
	path, _ := serveRing(t, &Server{Agent: &Proxy{Upstreams: []*Dialer{Socket(upstream)}}})
	c := NewClient(dialAgent(t, path))
	if ids, err := c.List(t.Context()); err != nil || len(ids) != 1 {
		t.Fatalf("%v, %v", ids, err)
	}
	ended()
	if _, err := c.List(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("without the agent: %v", err)
	}
	os.Remove(upstream)
	l, err := testnet.ListenLocal(upstream)
	if err != nil {
		t.Fatal(err)
	}
	testnet.Serve(t, l, ours(ring))
	if sig, err := c.Sign(t.Context(), testKeys.user.PublicKey().Marshal(), []byte("data"), 0); err != nil || testKeys.user.PublicKey().Verify([]byte("data"), sig) != nil {
		t.Errorf("after the agent was restarted: %v", err)
	}
}

// Tokens are added to the agent behind by who is here, and by nobody else: it might
// load any library for them.
func TestProxyTokens(t *testing.T) {
	asked := make(chan byte, 8)
	_, ask := proxyTo(t, answers(func(request []byte) []byte {
		asked <- request[0]
		return []byte{numSuccess}
	}))
	for _, request := range [][]byte{addingToken("/lib.so", "1234"), append([]byte{numAddToken}, addingToken("/lib.so", "1234")[1:]...), removingToken("/lib.so")} {
		wantReply(t, "from here", ask(request), numSuccess)
		if got := <-asked; got != request[0] {
			t.Errorf("the agent behind is asked %d, want %d", got, request[0])
		}
	}
	wantReply(t, "bind", ask(binding(session(t, testKeys.hosts[0], "id"), true)), numSuccess)
	for _, request := range [][]byte{addingToken("/lib.so", "1234"), append([]byte{numAddToken}, addingToken("/lib.so", "1234")[1:]...), removingToken("/lib.so")} {
		wantReply(t, "from another host", ask(request), numFailure)
	}
	if n := len(asked); n != 0 {
		t.Errorf("the agent behind was asked %d times more", n)
	}
	wantReply(t, "nobody behind", (&Proxy{}).connect(nil).Answer(t.Context(), addingToken("/lib.so", "1234")), numFailure)
}
