package agent

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

// restricted are keys that may be used in some ways only, and what of that an error names.
func restricted() map[string]AddedKey {
	return map[string]AddedKey{
		"lifetime":     {PrivateKey: testKeys.raw, Comment: "short", Lifetime: 3600},
		"confirmation": {PrivateKey: testKeys.raw, Comment: "asks", Confirm: true},
		"destinations": {PrivateKey: testKeys.raw, Comment: "there", Destinations: []Destination{
			{To: Hop{Hostname: "there", Keys: []HostKey{{Blob: testKeys.hosts[0].PublicKey().Marshal()}}}},
		}},
	}
}

// A Proxy adds a restricted key only to an agent that is known to enforce it; a key for
// everything is added to any.
func TestProxyRestricted(t *testing.T) {
	says := func(num byte, adds *int) func(net.Conn) { // to everything, but for lists
		return answers(func(request []byte) []byte {
			switch request[0] {
			case numRequestKeys:
				return appendKeys(nil, nil)
			case numExtension:
				return []byte{num}
			}
			*adds++
			return []byte{numSuccess}
		})
	}
	for _, tt := range []struct {
		name    string
		agent   func(adds *int) func(net.Conn)
		why     string // "" when the agent is known to enforce it
		refuses bool   // by itself
	}{
		{"as ours", func(*int) func(net.Conn) { return ours(&Keyring{}) }, "", false},
		{"does not know session-bind", func(adds *int) func(net.Conn) { return says(numFailure, adds) }, "agent refused operation", false},
		{"says yes to everything", func(adds *int) func(net.Conn) { return says(numSuccess, adds) }, "it takes a proof that is none", false},
		{"closes when it is bound", func(*int) func(net.Conn) { return closingAgent(&Keyring{}) }, "closed the connection", false},
		{"Windows", func(*int) func(net.Conn) { return windowsAgent(&Keyring{}) }, "", true},
	} {
		adds := 0
		path, _ := listenAgent(t, false, tt.agent(&adds))
		for what, key := range restricted() {
			adds = 0
			k := newAsker(t, &Proxy{Upstreams: []*Dialer{Socket(path)}})
			reply := k.ask(addRequest(t, key))
			e, unenforced := errors.AsType[*UnenforcedError](k.last.Err)
			if unenforced != (tt.why != "") || unenforced && (e.What != what || !strings.Contains(e.Error(), tt.why)) {
				t.Errorf("%s, %s: %v, want %q in it", tt.name, what, k.last.Err, tt.why)
			}
			if added := reply[0] == numSuccess; added != (tt.why == "" && !tt.refuses) || unenforced && adds > 0 {
				t.Errorf("%s, %s: got %x, and the agent was asked to add %d keys", tt.name, what, reply, adds)
			}
			if unenforced && (k.last.Operation != "add" || string(k.last.Key) != string(testKeys.user.PublicKey().Marshal())) {
				t.Errorf("%s, %s: recorded %+v", tt.name, what, k.last)
			}
		}
		k := newAsker(t, &Proxy{Upstreams: []*Dialer{Socket(path)}})
		wantReply(t, tt.name+": a key for everything", k.ask(addRequest(t, AddedKey{PrivateKey: testKeys.raw})), numSuccess)
	}
}

// A list of destinations that is empty is none for ssh-agent: the key would be good for
// all. Nor can a key be judged with what is not known here, or that has no end.
func TestProxyRestrictedUnreadable(t *testing.T) {
	added := 0
	_, ask := proxyTo(t, answers(func(request []byte) []byte {
		if request[0] == numAddConstrained || request[0] == numAddTokenLimited {
			added++
		}
		return []byte{numSuccess}
	}))
	plain := addRequest(t, AddedKey{PrivateKey: testKeys.raw, Comment: "c"})
	key := append([]byte{numAddConstrained}, plain[1:]...)
	extension := func(name, value string) []byte {
		return wire.AppendString(wire.AppendString([]byte{constrainExtension}, name), value)
	}
	for name, limits := range map[string][]byte{
		"no destination": extension(extRestrict, ""), "an extension": extension("new@example.org", ""), "a constraint": {77}, "cut short": {constrainLifetime, 0},
	} {
		wantReply(t, name, ask(append(slices.Clone(key), limits...)), numFailure)
		wantReply(t, name+", token", ask(addingToken("/lib.so", "1234", limits...)), numFailure)
	}
	wantReply(t, "a key of a kind that is not known", ask(append(wire.AppendString([]byte{numAddConstrained}, "ssh-new"), constrainConfirm)), numFailure)
	wantReply(t, "a token with a lifetime", ask(addingToken("/lib.so", "1234", constrainLifetime, 0, 0, 0, 9)), numFailure)
	if added != 0 {
		t.Errorf("the agent behind was asked to add %d of them", added)
	}
	wantReply(t, "no constraints after all", ask(key), numSuccess)
	wantReply(t, "a token without", ask(addingToken("/lib.so", "1234")), numSuccess)
}

// A key that another agent has without its restriction is not restricted.
func TestProxyRestrictedElsewhere(t *testing.T) {
	first, _ := listenAgent(t, false, ours(&Keyring{}))
	second, _ := listenAgent(t, false, ours(ringWith(t, AddedKey{})))
	for what, key := range restricted() {
		k := newAsker(t, &Proxy{Upstreams: []*Dialer{Socket(first), Socket(second)}})
		wantReply(t, what, k.ask(addRequest(t, key)), numFailure)
		if !errors.Is(k.last.Err, errElsewhere) {
			t.Errorf("%s: %v, want %v", what, k.last.Err, errElsewhere)
		}
		k = newAsker(t, &Proxy{Upstreams: []*Dialer{Socket(second), Socket(first)}})
		key.PrivateKey = testKeys.hostRaw[0]
		wantReply(t, what+", another one", k.ask(addRequest(t, key)), numSuccess)
	}
}

// GnuPG's agent says yes to everything and enforces little: what it is asked for directly
// it does not do, and through a Proxy it is not asked, or its yes not believed. ssh-agent
// is asked, and does it.
func TestProxyRestrictedReal(t *testing.T) {
	gpg := testpeer.GPGAgent(t)
	direct := func(path string) *Client {
		conn, _, err := Socket(path).Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return NewClient(conn)
	}
	here := testKeys.user.PublicKey()
	ctx := context.Background()
	if err := direct(gpg).Add(ctx, restricted()["destinations"]); err != nil {
		t.Fatalf("gpg-agent refuses destinations: %v; then the Proxy need not", err)
	}
	if _, err := direct(gpg).Sign(ctx, here.Marshal(), []byte("not a login"), 0); err != nil {
		t.Fatalf("gpg-agent enforces destinations: %v; then the Proxy need not", err)
	}
	key := AddedKey{PrivateKey: testKeys.hostRaw[1], Comment: "another"}
	for what, k := range restricted() {
		p := newAsker(t, &Proxy{Upstreams: []*Dialer{Socket(gpg)}})
		k.PrivateKey = testKeys.hostRaw[0]
		wantReply(t, "gpg-agent, "+what, p.ask(addRequest(t, k)), numFailure)
		if e, ok := errors.AsType[*UnenforcedError](p.last.Err); !ok || e.What != what {
			t.Errorf("gpg-agent, %s: %v", what, p.last.Err)
		}
	}
	p := newAsker(t, &Proxy{Upstreams: []*Dialer{Socket(gpg)}})
	wantReply(t, "gpg-agent, for everything", p.ask(addRequest(t, key)), numSuccess)
	ids, err := direct(gpg).List(ctx)
	if err != nil || len(ids) != 2 {
		t.Errorf("gpg-agent has %d keys, %v, want the one that it got directly, and the one for everything", len(ids), err)
	}

	lock := func(num byte) []byte { return wire.AppendString([]byte{num}, "word") }
	wantReply(t, "gpg-agent, lock", p.ask(lock(numLock)), numFailure)
	if !errors.Is(p.last.Err, ErrShowsKeys) {
		t.Errorf("gpg-agent, lock: %v, want %v", p.last.Err, ErrShowsKeys)
	}
	if err := direct(gpg).Lock(ctx, []byte("word")); err != nil {
		t.Errorf("gpg-agent refuses to be locked: %v; then the Proxy need not look", err)
	}

	for what, k := range restricted() {
		p := newAsker(t, &Proxy{Upstreams: []*Dialer{Socket(startAgent(t).path)}})
		wantReply(t, "ssh-agent, "+what, p.ask(addRequest(t, k)), numSuccess)
		reply := p.ask(signing(here, "not a login", 0))
		if signed := reply[0] == numSignature; signed != (what == "lifetime") {
			t.Errorf("ssh-agent, %s: signs: %v", what, signed)
		}
		wantReply(t, "ssh-agent, lock", p.ask(lock(numLock)), numSuccess)
		wantReply(t, "ssh-agent, locked", p.ask(signing(here, "data", 0)), numFailure)
		wantReply(t, "ssh-agent, unlock", p.ask(lock(numUnlock)), numSuccess)
	}
}
