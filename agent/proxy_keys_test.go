package agent

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
)

// A key that several agents have is used with one that shows it along this way, whatever
// others see along theirs, and removed from all that show it.
func TestProxySameKeyTwice(t *testing.T) {
	a, c := session(t, testKeys.hosts[0], "a"), session(t, testKeys.hosts[2], "c")
	limited, free := ringWith(t, AddedKey{Destinations: []Destination{only(-1, 1)}}), ringWith(t, AddedKey{})
	p, here := proxyTo(t, ours(limited), ours(free))
	k := newAsker(t, p)
	k.ask(binding(a, true))
	wantReply(t, "list on a", k.ask([]byte{numRequestKeys}), numKeys)
	wantReply(t, "list here", here([]byte{numRequestKeys}), numKeys) // the first shows it, too
	wantReply(t, "sign on a", k.ask(loginAt(c)), numSignature)
	k.ask(binding(c, false))
	wantReply(t, "sign for a login at c", k.ask(loginAt(c)), numSignature)
	wantReply(t, "remove here", here(removing(testKeys.user.PublicKey())), numSuccess)
	if limited.Len()+free.Len() != 0 {
		t.Errorf("removed, it is still there: %d and %d keys", limited.Len(), free.Len())
	}
}

// All agents that are there are locked, or it is told that they are not.
func TestProxyLocksAll(t *testing.T) {
	ring := ringWith(t, AddedKey{})
	p, ask := proxyTo(t, ours(ring))
	p.Upstreams = append(p.Upstreams, Socket("/nowhere"))
	word := func(num byte) []byte { return wire.AppendString([]byte{num}, "word") }
	wantReply(t, "lock, one is not there", ask(word(numLock)), numSuccess)
	wantReply(t, "unlock, one is not there", ask(word(numUnlock)), numSuccess)
	p.Upstreams[1] = &Dialer{Dial: func(context.Context) (net.Conn, error) { return nil, errors.New("it is busy") }}
	wantReply(t, "lock, one is busy", ask(word(numLock)), numFailure)
}

// A token whose keys may be hidden is not removed.
func TestProxyHiddenToken(t *testing.T) {
	ring := ringWith(t, AddedKey{Comment: "work key"})
	removed := 0
	for _, tt := range []struct {
		rules *Rules
		want  byte
	}{{rulesOf(t, "deny comment=work*"), numFailure}, {rulesOf(t, "deny comment=home*"), numSuccess}, {nil, numSuccess}} {
		p, ask := proxyTo(t, func(nc net.Conn) {
			c := ring.NewConnection()
			answers(func(request []byte) []byte {
				if request[0] == numRemoveToken {
					removed++
					return []byte{numSuccess}
				}
				return c.Answer(context.Background(), request)
			})(nc)
		})
		p.Rules = tt.rules
		removed = 0
		wantReply(t, "remove a token", ask(removingToken("/lib.so")), tt.want)
		if (removed == 1) != (tt.want == numSuccess) {
			t.Errorf("the agent behind was asked %d times", removed)
		}
	}
}

// No library is loaded for a security key that somebody at another host adds, also by
// agents that would.
func TestProxySecurityKey(t *testing.T) {
	_, ask := proxyTo(t, answers(func([]byte) []byte { return []byte{numSuccess} }))
	key := newSKKey(t, "ssh:", 1)
	wantReply(t, "from here", ask(key.add("/lib.so")), numSuccess)
	wantReply(t, "bind", ask(binding(session(t, testKeys.hosts[0], "a"), true)), numSuccess)
	wantReply(t, "from another host", ask(key.add("/lib.so")), numFailure)
	wantReply(t, "from another host, cut short", ask(key.add("/lib.so")[:len(key.add("/lib.so"))-2]), numFailure)
	wantReply(t, "from another host, with what is built in", ask(key.add("internal")), numSuccess)
	wantReply(t, "from another host, with nothing", ask(key.add("")), numSuccess)
}

// A key that agents call differently is hidden when a rule refuses one of its names,
// whichever agent lists it first; only the name by which it is shown lets it through.
func TestProxyManyComments(t *testing.T) {
	rings := func(comments ...string) (handles []func(net.Conn)) {
		for _, c := range comments {
			handles = append(handles, ours(ringWith(t, AddedKey{Comment: c})))
		}
		return handles
	}
	user := testKeys.user.PublicKey()
	for _, tt := range []struct {
		rule   string
		agents []string
		shown  bool
	}{
		{"deny comment=work*", []string{"laptop", "work key"}, false},
		{"deny comment=work*", []string{"work key", "laptop"}, false},
		{"deny comment=work*", []string{"laptop", "laptop", "home"}, true},
		{"deny comment=work* type=ssh-rsa", []string{"laptop", "work key"}, true},
		{"allow comment=work*", []string{"work key", "laptop"}, true},
		{"allow comment=work*", []string{"laptop", "work key"}, false},
	} {
		for _, first := range []string{"list", "sign", "remove", "add"} {
			p, _ := proxyTo(t, rings(tt.agents...)...)
			p.Rules = rulesOf(t, tt.rule)
			k := newAsker(t, p)
			want, request := byte(numSignature), signing(user, "data", 0)
			switch first {
			case "list":
				want = numKeys
				if got := k.comments(); (got != "") != tt.shown || tt.shown && got != tt.agents[0] {
					t.Errorf("%s, %q: it lists %q", tt.rule, tt.agents, got)
				}
				continue
			case "remove":
				want, request = numSuccess, removing(user)
			case "add":
				comment := "home"
				if strings.HasPrefix(tt.rule, "allow") {
					comment = "work too"
				}
				want, request = numSuccess, addRequest(t, AddedKey{PrivateKey: testKeys.raw, Comment: comment})
			}
			if !tt.shown {
				want = numFailure
			}
			if reply := k.ask(request); reply[0] != want || k.last.Comment != tt.agents[0] && first != "add" {
				t.Errorf("%s, %q: %s: got message %d (%v) for %q, want %d", tt.rule, tt.agents, first, reply[0], k.last.Err, k.last.Comment, want)
			}
		}
	}
}
