package agent

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
)

// only lets a key be used for logging in from one host of testKeys to another; -1 is
// here.
func only(from, to int) Destination {
	hop := func(i int) Hop {
		if i < 0 {
			return Hop{}
		}
		return Hop{Hostname: string(rune('a' + i)), Keys: []HostKey{{Blob: testKeys.hosts[i].PublicKey().Marshal()}}}
	}
	return Destination{From: hop(from), To: hop(to)}
}

// loginAt is a request to sign a login at a session's host with the user's key.
func loginAt(s Session) []byte {
	user := testKeys.user.PublicKey()
	return signing(user, string(loginData(s.ID, "alice", wire.MethodHostbound, user.Type(), user.Marshal(), s.HostKey)), 0)
}

// unprovable is a session with a host whose key is of a kind that is not known here.
func unprovable() Session {
	return Session{HostKey: wire.AppendString(wire.AppendString(nil, "ssh-unheard"), "key"), ID: []byte("id"), Signature: wire.AppendString(wire.AppendString(nil, "ssh-unheard"), "sig")}
}

// A host that could not be bound is not taken out of the way: who is there does not
// get what is for hosts that come before it, whatever is bound behind.
func TestGap(t *testing.T) {
	a, c := session(t, testKeys.hosts[0], "a"), session(t, testKeys.hosts[2], "c")
	odd := unprovable()
	for _, tt := range []struct {
		name string
		ds   []Destination
		way  []Binding
		last byte // the reply to the last binding
		seen int
		sign byte
	}{
		{"no gap", []Destination{only(-1, 2)}, []Binding{{c, false}}, numSuccess, 1, numSignature},
		{"behind a gap", []Destination{only(-1, 2)}, []Binding{{odd, true}, {c, false}}, numExtensionFailure, 0, numFailure},
		{"no gap behind a host", []Destination{only(-1, 0), only(0, 2)}, []Binding{{a, true}, {c, false}}, numSuccess, 1, numSignature},
		{"a gap behind a host", []Destination{only(-1, 0), only(0, 2)}, []Binding{{a, true}, {odd, true}, {c, false}}, numExtensionFailure, 1, numFailure},
		{"a key for everywhere", nil, []Binding{{odd, true}, {c, false}}, numExtensionFailure, 1, numSignature},
	} {
		ring := ringWith(t, AddedKey{Destinations: tt.ds})
		path, _ := listenAgent(t, false, ours(ring))
		for name, agent := range map[string]Agent{"Keyring": ring, "Proxy": &Proxy{Upstreams: []*Dialer{Socket(path)}}} {
			k := newAsker(t, agent)
			var reply []byte
			for _, b := range tt.way {
				reply = k.ask(binding(b.Session, b.Forwarding))
			}
			wantReply(t, name+", "+tt.name+": the last binding", reply, tt.last)
			list := k.ask([]byte{numRequestKeys})
			if ids, err := parseKeys(list[1:]); err != nil || len(ids) != tt.seen {
				t.Errorf("%s, %s: %d keys are seen, %v, want %d", name, tt.name, len(ids), err, tt.seen)
			}
			wantReply(t, name+", "+tt.name+": sign", k.ask(loginAt(c)), tt.sign)
		}
	}
}

// Agents that know no destinations are asked all the same for who could not be bound,
// also when they close at it; that is not taken for closing at every binding.
func TestProxyNowhere(t *testing.T) {
	for name, kind := range map[string]func(*Keyring) func(net.Conn){"Windows": windowsAgent, "closing": closingAgent} {
		p, ask := proxyTo(t, kind(ringWith(t, AddedKey{})))
		wantReply(t, name+": a wrong binding", ask(binding(unprovable(), true)), numExtensionFailure)
		wantReply(t, name+": list", ask([]byte{numRequestKeys}), numKeys)
		wantReply(t, name+": sign", ask(signing(testKeys.user.PublicKey(), "data", 0)), numSignature)
		wantReply(t, name+": add", ask(addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[0]})), numFailure)
		if name == "Windows" {
			c := p.connect(nil)
			c.Answer(t.Context(), binding(session(t, testKeys.hosts[0], "a"), true))
			wantReply(t, name+": add from a host that is bound", c.Answer(t.Context(), addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[0]})), numSuccess)
		}
	}
}

// An agent that takes a binding, but not the one before it, is not asked: it would take
// the way for a shorter one.
func TestProxyGapBehind(t *testing.T) {
	ring := ringWith(t, AddedKey{Destinations: []Destination{only(-1, 2)}})
	var refuse atomic.Bool
	_, ask := proxyTo(t, func(nc net.Conn) {
		c, first := ring.NewConnection(), true
		answers(func(request []byte) []byte {
			if request[0] == numExtension && first && refuse.Load() {
				first = false
				return []byte{numFailure}
			}
			return c.Answer(context.Background(), request)
		})(nc)
	})
	a, c := session(t, testKeys.hosts[0], "a"), session(t, testKeys.hosts[2], "c")
	ask(binding(a, true))
	ask(binding(c, false))
	wantReply(t, "list", ask([]byte{numRequestKeys}), numKeys)
	refuse.Store(true)
	wantReply(t, "list over a gap", ask([]byte{numRequestKeys}), numFailure)
	wantReply(t, "sign over a gap", ask(loginAt(c)), numFailure)
}

// Who has logged in at a host over a connection, and then forwards it there, is at that
// host from then on.
func TestProxyLoginThenForwarded(t *testing.T) {
	b, c := session(t, testKeys.hosts[1], "b"), session(t, testKeys.hosts[2], "c")
	for _, tt := range []struct {
		name string
		ds   []Destination
		want byte
	}{
		{"from here to c", []Destination{only(-1, 1), only(-1, 2)}, numFailure},
		{"from b to c", []Destination{only(-1, 1), only(1, 2)}, numSignature},
	} {
		_, ask := proxyTo(t, ours(ringWith(t, AddedKey{Destinations: tt.ds})))
		wantReply(t, tt.name, ask(binding(b, false)), numSuccess)
		wantReply(t, tt.name+": the login", ask(loginAt(b)), numSignature)
		wantReply(t, tt.name, ask(binding(b, true)), numSuccess)
		wantReply(t, tt.name, ask(binding(c, false)), numSuccess)
		wantReply(t, tt.name+": a login at c", ask(loginAt(c)), tt.want)
	}
}
