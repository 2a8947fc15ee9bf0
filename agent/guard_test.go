package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// guarded are the two kinds of agents, with the same two keys: testKeys.user,
// "laptop", and testKeys.hostRaw[0], "work key".
func guarded(t testing.TB, set func(rules **Rules, confirmForwarded *bool, confirm *func(context.Context, Confirmation) bool)) map[string]Agent {
	t.Helper()
	filled := func() *Keyring {
		r := ringWith(t, AddedKey{Comment: "laptop"})
		if err := r.Add(AddedKey{PrivateKey: testKeys.hostRaw[0], Comment: "work key"}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	ring := filled()
	set(&ring.Rules, &ring.ConfirmForwarded, &ring.Confirm)
	path, _ := listenAgent(t, false, ours(filled()))
	proxy := &Proxy{Upstreams: []*Dialer{Socket(path)}}
	set(&proxy.Rules, &proxy.ConfirmForwarded, &proxy.Confirm)
	return map[string]Agent{"Keyring": ring, "Proxy": proxy}
}

// asker asks an agent over one connection, and keeps what was recorded last.
type asker struct {
	t    testing.TB
	c    answerer
	last Request
	all  []Request
}

func newAsker(t testing.TB, a Agent) *asker {
	k := &asker{t: t}
	k.c = a.connect(func(r Request) error {
		r.Key = clone(r.Key)
		k.last = r
		k.all = append(k.all, r)
		return nil
	})
	return k
}

func (k *asker) ask(request []byte) []byte { return k.c.Answer(k.t.Context(), request) }

// comments are those of the keys that are listed.
func (k *asker) comments() string {
	k.t.Helper()
	reply := k.ask([]byte{numRequestKeys})
	ids, err := parseKeys(reply[1:])
	if err != nil {
		k.t.Fatal(err)
	}
	var all []string
	for _, id := range ids {
		all = append(all, id.Comment)
	}
	return strings.Join(all, ", ")
}

// What is hidden is neither listed nor used, removed or replaced.
func TestHidden(t *testing.T) {
	for name, a := range guarded(t, func(rules **Rules, _ *bool, _ *func(context.Context, Confirmation) bool) {
		*rules = rulesOf(t, "deny comment=work*")
	}) {
		k := newAsker(t, a)
		work := testKeys.hosts[0].PublicKey()
		if got := k.comments(); got != "laptop" || k.last.Listed != 1 || k.last.Hidden != 1 || k.last.Err != nil {
			t.Errorf("%s lists %s; recorded %+v", name, got, k.last)
		}
		wantReply(t, name+": sign", k.ask(signing(work, "data", 0)), numFailure)
		if e, ok := errors.AsType[*RuleError](k.last.Err); !ok || e.Rule != "rules:1 deny comment=work*" || k.last.Comment != "work key" || string(k.last.Key) != string(work.Marshal()) {
			t.Errorf("%s: recorded %+v", name, k.last)
		}
		wantReply(t, name+": sign with the other", k.ask(signing(testKeys.user.PublicKey(), "data", 0)), numSignature)
		wantReply(t, name+": remove", k.ask(removing(work)), numFailure)
		wantReply(t, name+": add it again", k.ask(addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[0], Comment: "mine"})), numFailure)
		wantReply(t, name+": add another that would be hidden", k.ask(addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[1], Comment: "work 2"})), numFailure)
		wantReply(t, name+": add another", k.ask(addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[1], Comment: "home"})), numSuccess)
		if got := k.comments(); got != "laptop, home" {
			t.Errorf("%s lists %s", name, got)
		}
		wantReply(t, name+": remove", k.ask(removing(testKeys.hosts[1].PublicKey())), numSuccess)
		if k.last.Comment != "home" {
			t.Errorf("%s: recorded %+v", name, k.last)
		}
		wantReply(t, name+": remove all", k.ask([]byte{numRemoveAll}), numSuccess)
		if got := k.comments(); got != "" || k.last.Hidden != 1 {
			t.Errorf("%s: after removing all it lists %s, and hides %d", name, got, k.last.Hidden)
		}
	}
}

// Rules by host, user and way: on a login through a host, as it is bound, by bindings
// and by a login that names its host.
func TestRulesOnTheWay(t *testing.T) {
	user := testKeys.user.PublicKey()
	bastion, db, web := session(t, testKeys.hosts[0], "bastion"), session(t, testKeys.hosts[1], "db"), session(t, testKeys.hosts[2], "web")
	login := func(s Session, name string) []byte {
		return signing(user, string(loginData(s.ID, name, wire.MethodHostbound, user.Type(), user.Marshal(), s.HostKey)), 0)
	}
	for name, a := range guarded(t, func(rules **Rules, _ *bool, _ *func(context.Context, Confirmation) bool) {
		*rules = rulesOf(t, "deny user=root", "allow via=. comment=laptop", "allow via=bastion host=db.example.com comment=laptop")
	}) {
		for _, tt := range []struct {
			name   string
			way    []Binding
			listed string
			sign   []byte
			want   byte
			rule   string
		}{
			{"from here", nil, "laptop", login(db, "alice"), numSignature, "rules:2 allow via=. comment=laptop"},
			{"from here to db", []Binding{{db, false}}, "laptop", login(db, "alice"), numSignature, "rules:2 allow via=. comment=laptop"},
			{"from here to db as root", []Binding{{db, false}}, "laptop", login(db, "root"), numFailure, ""},
			{"on bastion", []Binding{{bastion, true}}, "laptop", login(db, "alice"), numSignature, "rules:3 allow via=bastion host=db.example.com comment=laptop"},
			{"on bastion, for nobody knows what", []Binding{{bastion, true}}, "laptop", signing(user, "data", 0), numFailure, ""},
			{"on bastion, an SSHSIG", []Binding{{bastion, true}}, "laptop", signing(user, sshsigData("git", "x"), 0), numFailure, ""},
			{"from bastion to db", []Binding{{bastion, true}, {db, false}}, "laptop", login(db, "alice"), numSignature, "rules:3 allow via=bastion host=db.example.com comment=laptop"},
			{"from bastion to web", []Binding{{bastion, true}, {web, false}}, "", login(web, "alice"), numFailure, ""},
			{"from bastion to db as root", []Binding{{bastion, true}, {db, false}}, "laptop", login(db, "root"), numFailure, ""},
			{"on db behind bastion", []Binding{{bastion, true}, {db, true}}, "", login(web, "alice"), numFailure, ""},
			{"on db", []Binding{{db, true}}, "", login(web, "alice"), numFailure, ""},
		} {
			k := newAsker(t, a)
			for _, b := range tt.way {
				wantReply(t, tt.name, k.ask(binding(b.Session, b.Forwarding)), numSuccess)
			}
			if got := k.comments(); got != tt.listed {
				t.Errorf("%s, %s: it lists %q, want %q", name, tt.name, got, tt.listed)
			}
			if got := k.ask(tt.sign); got[0] != tt.want || k.last.Rule != tt.rule {
				t.Errorf("%s, %s: got message %d (%v) by rule %q, want %d by %q", name, tt.name, got[0], k.last.Err, k.last.Rule, tt.want, tt.rule)
			}
		}
	}
}

// A person is asked about what comes from another host, and about nothing else.
func TestConfirmForwarded(t *testing.T) {
	user := testKeys.user.PublicKey()
	bastion, db := session(t, testKeys.hosts[0], "bastion"), session(t, testKeys.hosts[1], "db")
	login := signing(user, string(loginData(db.ID, "alice", wire.MethodHostbound, user.Type(), user.Marshal(), db.HostKey)), 0)
	bad := db
	bad.ID = []byte("other")
	var asked []Confirmation
	says := true
	for name, a := range guarded(t, func(_ **Rules, forwarded *bool, confirm *func(context.Context, Confirmation) bool) {
		*forwarded, *confirm = true, func(_ context.Context, c Confirmation) bool {
			asked = append(asked, c)
			return says
		}
	}) {
		for _, tt := range []struct {
			name string
			way  []Binding
			asks bool
			want string
		}{
			{"from here", nil, false, ""},
			{"from here to db", []Binding{{db, false}}, false, ""},
			{"from bastion to db", []Binding{{bastion, true}, {db, false}}, true, "laptop alice at db over 1"},
			{"on bastion, unbound", []Binding{{bastion, true}}, true, "laptop alice at db over 1"},
			{"a binding failed", []Binding{{bad, true}}, true, "laptop alice at db over 0"},
			{"a binding failed behind one for a login", []Binding{{db, false}, {bad, true}}, true, "laptop alice at db over 0"},
		} {
			for _, says = range []bool{true, false} {
				k := newAsker(t, a)
				asked = nil
				for _, b := range tt.way {
					k.ask(binding(b.Session, b.Forwarding))
				}
				want := byte(numSignature)
				if tt.asks && !says {
					want = numFailure
				}
				wantReply(t, name+", "+tt.name, k.ask(login), want)
				if (len(asked) == 1) != tt.asks || k.last.Confirmed != (tt.asks && says) {
					t.Fatalf("%s, %s: asked %d times, confirmed %v", name, tt.name, len(asked), k.last.Confirmed)
				}
				if !tt.asks {
					continue
				}
				c := asked[0]
				got := fmt.Sprintf("%s %s at db over %d", c.Comment, c.User, len(c.Hops))
				if got != tt.want || c.Astray != (len(c.Hops) == 0) || string(c.Host) != string(db.HostKey) || string(c.Key.Marshal()) != string(user.Marshal()) {
					t.Errorf("%s, %s: asked about %s, want %s", name, tt.name, got, tt.want)
				}
			}
		}
	}
	// Nobody to ask: the answer is no.
	for name, a := range guarded(t, func(_ **Rules, forwarded *bool, _ *func(context.Context, Confirmation) bool) { *forwarded = true }) {
		k := newAsker(t, a)
		k.ask(binding(bastion, true))
		wantReply(t, name+": nobody to ask", k.ask(login), numFailure)
	}
}

// Each request is told of once, with what it was about; those that change the agent
// before, too.
func TestRecorded(t *testing.T) {
	user := testKeys.user.PublicKey()
	bastion, db := session(t, testKeys.hosts[0], "bastion"), session(t, testKeys.hosts[1], "db")
	for name, a := range guarded(t, func(**Rules, *bool, *func(context.Context, Confirmation) bool) {}) {
		k := newAsker(t, a)
		for _, request := range [][]byte{
			binding(bastion, true), binding(db, false), {numRequestKeys},
			signing(user, string(loginData(db.ID, "alice", wire.MethodHostbound, user.Type(), user.Marshal(), db.HostKey)), 0),
			signing(user, sshsigData("git", "x"), 0), signing(testKeys.other.PublicKey(), "data", 0),
			removing(user), addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[1], Comment: "home"}), {numRemoveAll}, {200}, extension("unheard@example.com"), nil,
		} {
			k.ask(request)
		}
		var got []string
		for _, r := range k.all {
			line := r.What()
			if r.Begun {
				line += " begun"
			}
			if len(r.Key) > 0 {
				line += " " + Fingerprint(r.Key)[7:11]
			}
			if r.Comment != "" {
				line += " " + r.Comment
			}
			if s := r.Signing; s != nil {
				line += " " + s.Kind + " " + s.User + s.Namespace
			}
			if len(r.Hops) > 0 {
				line += fmt.Sprintf(" over %d", len(r.Hops))
			}
			if r.Host != nil {
				line += " at " + Fingerprint(r.Host)[7:11]
			}
			if r.Err != nil {
				line += " refused"
			}
			got = append(got, line)
		}
		four := func(k gossh.PublicKey) string { return Fingerprint(k.Marshal())[7:11] }
		at := " over 1 at " + four(testKeys.hosts[1].PublicKey())
		u, home := four(user), four(testKeys.hosts[1].PublicKey())
		want := []string{
			`extension "session-bind@openssh.com" over 1`, `extension "session-bind@openssh.com"` + at, "list" + at,
			"sign " + u + " laptop login alice" + at, "sign " + u + " laptop sshsig git over 1", "sign " + four(testKeys.other.PublicKey()) + " unknown  over 1 refused",
			"remove begun", "remove " + u + " laptop" + at, "add begun", "add " + home + " home" + at, "remove all begun", "remove all" + at,
			"message 200" + at + " refused", `extension "unheard@example.com"` + at + " refused", "message refused",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// What can't be recorded is refused, and what would change the agent is not done.
func TestNotRecorded(t *testing.T) {
	for name, a := range guarded(t, func(**Rules, *bool, *func(context.Context, Confirmation) bool) {}) {
		full := errors.New("the disk is full")
		c := a.connect(func(Request) error { return full })
		for _, request := range [][]byte{{numRequestKeys}, signing(testKeys.user.PublicKey(), "data", 0), {numRemoveAll}, removing(testKeys.user.PublicKey()),
			addRequest(t, AddedKey{PrivateKey: testKeys.hostRaw[1]}), wire.AppendString([]byte{numLock}, "word")} {
			if got := c.Answer(t.Context(), request); len(got) != 1 || got[0] != numFailure {
				t.Errorf("%s: %s is answered with %x", name, operation(request[0]), got)
			}
		}
		if got := newAsker(t, a).comments(); got != "laptop, work key" {
			t.Errorf("%s: it has %s", name, got)
		}
	}
}
