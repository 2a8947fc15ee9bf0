package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// namedHosts are Hosts by their keys; a name that is "hashed" can only be asked for.
type namedHosts map[string][]string

func (n namedHosts) Names(key []byte) (names []string, more bool) {
	for _, name := range n[string(key)] {
		if hashed, ok := strings.CutPrefix(name, "hashed "); ok {
			more = more || hashed != ""
			continue
		}
		names = append(names, name)
	}
	return names, more
}

func (n namedHosts) Is(key []byte, name string) bool {
	return slices.Contains(n[string(key)], name) || slices.Contains(n[string(key)], "hashed "+name)
}

// hostKey is testKeys.hosts[i]'s.
func hostKey(i int) []byte { return testKeys.hosts[i].PublicKey().Marshal() }

// theHosts are bastion, db and a host that only a hash names, web.
func theHosts() namedHosts {
	return namedHosts{string(hostKey(0)): {"bastion", "10.0.0.1"}, string(hostKey(1)): {"db.example.com"}, string(hostKey(2)): {"hashed web.example.com"}}
}

// rulesOf are rules from lines as in a file.
func rulesOf(t testing.TB, lines ...string) *Rules {
	t.Helper()
	r := &Rules{Hosts: theHosts()}
	if err := r.Read("rules", strings.Join(lines, "\n")); err != nil {
		t.Fatal(err)
	}
	return r
}

// Each condition, for a list and for a signature, when it holds, when it does not,
// and when that is not known.
func TestRules(t *testing.T) {
	user := testKeys.user.PublicKey().Marshal()
	print := Fingerprint(user)
	login := func(name string) *Signing { return &Signing{Kind: SignsLogin, User: name} }
	sshsig := &Signing{Kind: SignsSSHSIG, Namespace: "git"}
	unknown := &Signing{Kind: SignsUnknown}
	bastion, db, web, stranger := hostKey(0), hostKey(1), hostKey(2), testKeys.other.PublicKey().Marshal()
	hops := func(h ...[]byte) [][]byte { return h }
	for _, tt := range []struct {
		rule string
		c    circumstances
		// What a single rule does: whether one that allows shows the key, and whether one
		// that refuses hides it.
		allows, refuses bool
	}{
		{"key=" + print, circumstances{}, true, true},
		{"key=" + Fingerprint(bastion), circumstances{}, false, false},
		{"key=" + Fingerprint(bastion) + "," + print, circumstances{}, true, true},
		{"type=ssh-ed25519", circumstances{}, true, true},
		{"type=ssh-rsa", circumstances{}, false, false},
		{"type=*25519*", circumstances{}, true, true},
		{`comment="the laptop"`, circumstances{}, true, true},
		{"comment=laptop", circumstances{}, false, false},
		{"comment=the?lap*", circumstances{}, true, true},
		{"comment=*laptop type=ssh-rsa", circumstances{}, false, false},

		{"user=alice", circumstances{signing: login("alice")}, true, true},
		{"user=a*", circumstances{signing: login("alice")}, true, true},
		{"user=bob", circumstances{signing: login("alice")}, false, false},
		{"user=bob", circumstances{}, true, false}, // listed: it may be for bob
		{"user=bob", circumstances{signing: unknown}, false, true},
		{"user=*", circumstances{signing: sshsig}, false, false},
		{"namespace=git", circumstances{signing: sshsig}, true, true},
		{"namespace=file", circumstances{signing: sshsig}, false, false},
		{"namespace=git", circumstances{}, true, false},
		{"namespace=git", circumstances{signing: login("git")}, false, false},
		{"namespace=git", circumstances{signing: unknown}, false, false},

		{"host=db.example.com", circumstances{host: db, signing: login("a")}, true, true},
		{"host=DB.example.com", circumstances{host: db, signing: login("a")}, true, true},
		{"host=*.example.com", circumstances{host: db, signing: login("a")}, true, true},
		{"host=bastion,db.*", circumstances{host: db, signing: login("a")}, true, true},
		{"host=bastion", circumstances{host: db, signing: login("a")}, false, false},
		{"host=10.0.0.*", circumstances{host: bastion, signing: login("a")}, true, true},
		{"host=" + Fingerprint(db), circumstances{host: db, signing: login("a")}, true, true},
		{"host=" + Fingerprint(db), circumstances{host: stranger, signing: login("a")}, false, false},
		{"host=db.example.com", circumstances{host: db}, true, true},        // listed, bound for a login
		{"host=db.example.com", circumstances{host: bastion}, false, false}, //
		{"host=db.example.com", circumstances{}, true, false},               // listed from here
		{"host=db.example.com", circumstances{signing: login("a")}, false, true},
		{"host=db.example.com", circumstances{signing: unknown}, false, true},
		{"host=*", circumstances{signing: sshsig}, false, false},
		// A host that known_hosts has a hash of can be asked for by name, and not else.
		{"host=web.example.com", circumstances{host: web, signing: login("a")}, true, true},
		{"host=db.example.com", circumstances{host: web, signing: login("a")}, false, false},
		{"host=web.*", circumstances{host: web, signing: login("a")}, false, true},
		{"host=web.*", circumstances{host: web}, true, false},
		// Nothing is known of a host: it may be any.
		{"host=db.example.com", circumstances{host: stranger, signing: login("a")}, false, true},
		{"host=*", circumstances{host: stranger, signing: login("a")}, false, true},

		{"via=.", circumstances{}, true, true},
		{"via=.", circumstances{hops: hops(bastion)}, false, false},
		{"via=.", circumstances{unbound: true, signing: login("a")}, false, true},
		{"via=bastion", circumstances{hops: hops(bastion)}, true, true},
		{"via=bastion", circumstances{hops: hops(bastion, db)}, false, false},
		{"via=bastion>db.*", circumstances{hops: hops(bastion, db)}, true, true},
		{"via=db.*>bastion", circumstances{hops: hops(bastion, db)}, false, false},
		{"via=bastion>...", circumstances{hops: hops(bastion)}, true, true},
		{"via=bastion>...", circumstances{hops: hops(bastion, db, db)}, true, true},
		{"via=...>db.*", circumstances{hops: hops(bastion, db)}, true, true},
		{"via=...>db.*", circumstances{hops: hops(db, bastion)}, false, false},
		{"via=...", circumstances{}, true, true},
		{"via=*>...", circumstances{}, false, false},
		{"via=*>...", circumstances{hops: hops(db)}, true, true},
		{"via=.,bastion", circumstances{hops: hops(bastion)}, true, true},
		{"via=bastion", circumstances{hops: hops(stranger), signing: login("a")}, false, true},
		{"via=bastion>db.*", circumstances{hops: hops(bastion, stranger), signing: login("a")}, false, true},
		{"via=bastion>db.*", circumstances{hops: hops(db, stranger), signing: login("a")}, false, false},
	} {
		for _, word := range []string{"allow", "deny"} {
			_, err := rulesOf(t, word+" "+tt.rule).judge(tt.c).key(user, "the laptop")
			want := tt.allows
			if word == "deny" {
				want = !tt.refuses
			}
			if got := err == nil; got != want {
				t.Errorf("%s %s, in %+v: got %v (%v), want %v", word, tt.rule, tt.c, got, err, want)
			}
			if refused, ok := errors.AsType[*RuleError](err); ok && refused.Unsure != (tt.refuses != tt.allows) {
				t.Errorf("%s %s, in %+v: %v, want to be told what is not known: %v", word, tt.rule, tt.c, err, tt.refuses != tt.allows)
			}
		}
	}
}

// The first rule that applies decides; none means no only where some rule allows.
func TestRulesInOrder(t *testing.T) {
	user := testKeys.user.PublicKey().Marshal()
	for _, tt := range []struct {
		rules   []string
		comment string
		want    string // the rule that allows, or the error
	}{
		{nil, "a", ""},
		{[]string{"deny comment=b"}, "a", ""},
		{[]string{"deny comment=b"}, "b", "a rule refuses it: rules:1 deny comment=b"},
		{[]string{"allow comment=b"}, "a", "no rule allows it"},
		{[]string{"# both", "", "allow comment=a*", "deny comment=ab"}, "ab", "rules:3 allow comment=a*"},
		{[]string{"deny comment=ab", "allow\tcomment=a*"}, "ab", "a rule refuses it: rules:1 deny comment=ab"},
		{[]string{"deny comment=ab", "allow\tcomment=a*"}, "ac", "rules:2 allow comment=a*"},
		{[]string{"deny user=root", "allow type=*"}, "a", "it can't be told that a rule does not refuse it: rules:1 deny user=root"},
	} {
		rule, err := rulesOf(t, tt.rules...).judge(circumstances{signing: &Signing{Kind: SignsUnknown}}).key(user, tt.comment)
		if err != nil {
			rule = err.Error()
		}
		if rule != tt.want {
			t.Errorf("%q, comment %s: got %q, want %q", tt.rules, tt.comment, rule, tt.want)
		}
	}
	if rule, err := (*Rules)(nil).judge(circumstances{}).key(user, ""); rule != "" || err != nil {
		t.Errorf("without rules: %q, %v", rule, err)
	}
	if _, err := (&Rules{}).judge(circumstances{}).key([]byte("no key"), ""); err != nil {
		t.Errorf("a key that can't be read: %v", err)
	}
}

// Without known_hosts nothing is known of any host.
func TestRulesWithoutHosts(t *testing.T) {
	r := rulesOf(t, "deny host=db", "allow type=*")
	r.Hosts = nil
	_, err := r.judge(circumstances{host: hostKey(0), signing: &Signing{Kind: SignsLogin, User: "a"}}).key(hostKey(0), "")
	if e, ok := errors.AsType[*RuleError](err); !ok || !e.Unsure {
		t.Errorf("got %v", err)
	}
}

// Who mistypes a rule is told where, and what would do.
func TestBadRules(t *testing.T) {
	for _, tt := range []struct{ rule, want string }{
		{"allow", "rules:1: a condition is due, such as host=example.com; type=* is any key"},
		{"permit host=a", `rules:1: "permit": allow or deny is due`},
		{"\n\ndeny hots=a", `rules:3: "hots" is no condition; there are key, type, comment, user, host, via, namespace`},
		{"deny host", `rules:1: "host": a condition has the form NAME=VALUE`},
		{"deny host=", "rules:1: host=: a value is empty"},
		{"deny host=a,,b", "rules:1: host=a,,b: a value is empty"},
		{"deny host=a host=b", "rules:1: host= stands twice"},
		{`deny comment="a b`, `rules:1: a " lacks its other`},
		{"deny key=abc", "rules:1: key=abc: a fingerprint is due"},
		{"deny key=MD5:00", "a fingerprint is due, SHA256:"},
		{"deny key=SHA256:abc", "a fingerprint is due"},
		{"deny host=SHA256:abc", "a fingerprint is due"},
		{"deny via=a>SHA256:abc", "a fingerprint is due"},
		{"deny type=RSA", "rules:1: type=RSA: no key has this type; types are such as ssh-ed25519"},
		{"deny via=a>", "hosts are separated by >"},
		{"deny via=.>a", "hosts are separated by >"},
	} {
		err := new(Rules).Read("rules", tt.rule)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %s", tt.rule, err, tt.want)
		}
	}
}

// A pattern, however long, and a path, however often it says "...", take no time.
func TestRulesHostile(t *testing.T) {
	r := rulesOf(t, "deny comment="+strings.Repeat("*a", 200), "deny via="+strings.Repeat("...>", 500)+"bastion")
	c := circumstances{}
	for range maxBindings {
		c.hops = append(c.hops, hostKey(1))
	}
	if _, err := r.judge(c).key(hostKey(0), strings.Repeat("a", MaxFrame)+"b"); err != nil {
		t.Error(err)
	}
}

// FuzzRules: whatever stands in a file, it is taken or refused; and rules that were
// taken judge.
func FuzzRules(f *testing.F) {
	for _, s := range []string{"allow host=a,b* via=.", "deny comment=\"a b\" user=c\n# x\nallow type=ssh-ed25519", "allow via=a>...>b", "deny key=SHA256:x"} {
		f.Add(s, "a comment")
	}
	f.Fuzz(func(t *testing.T, content, comment string) {
		r := &Rules{Hosts: theHosts()}
		if err := r.Read("rules", content); err != nil {
			if !strings.HasPrefix(err.Error(), "rules:") {
				t.Errorf("%q: %v", content, err)
			}
			return
		}
		for _, c := range []circumstances{{}, {unbound: true, signing: &Signing{Kind: SignsUnknown}}, {hops: [][]byte{hostKey(0), hostKey(2)}, host: hostKey(1), signing: &Signing{Kind: SignsLogin, User: comment}}} {
			rule, err := r.judge(c).key(hostKey(1), comment)
			if rule != "" && err != nil {
				t.Errorf("%q allows by %q and refuses: %v", content, rule, err)
			}
		}
	})
}

// What data is for is told to the last byte.
func TestSigningOf(t *testing.T) {
	user := testKeys.user.PublicKey()
	login := loginData([]byte("id"), "alice", wire.MethodHostbound, user.Type(), user.Marshal(), hostKey(0))
	sshsig := sshsigData("git", "message")
	for _, tt := range []struct {
		data string
		want string
	}{
		{string(login), "login alice publickey-hostbound-v00@openssh.com"},
		{string(loginData([]byte("id"), "alice", wire.MethodPublickey, user.Type(), user.Marshal(), nil)), "login alice publickey"},
		{string(loginData(nil, "alice", wire.MethodPublickey, user.Type(), user.Marshal(), nil)), "unknown"},
		{string(loginData([]byte("id"), "alice", "password", user.Type(), user.Marshal(), nil)), "unknown"},
		{string(loginData([]byte("id"), "alice", wire.MethodHostbound, user.Type(), user.Marshal(), []byte("junk"))), "unknown"},
		{string(login) + "x", "unknown"},
		{sshsig, "sshsig git"},
		{sshsig + "x", "unknown"},
		{sshsigData("", "message"), "unknown"},
		{"SSHSIG", "unknown"},
		{"", "unknown"},
		{"data", "unknown"},
	} {
		s := signingOf([]byte(tt.data))
		got := strings.TrimSpace(fmt.Sprintln(s.Kind, s.User+s.Namespace, s.Method))
		if got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.data, got, tt.want)
		}
	}
	for n := range len(login) {
		if s := signingOf(login[:n]); s.Kind != SignsUnknown {
			t.Errorf("the first %d of %d bytes are for %+v", n, len(login), s)
		}
	}
}

// sshsigData is what is signed for an SSHSIG.
func sshsigData(namespace, message string) string {
	b := wire.AppendString([]byte(magicSSHSIG), namespace)
	b = wire.AppendString(wire.AppendString(b, ""), "sha512")
	return string(wire.AppendString(b, message))
}

// Where a signature is good for comes from proofs, not from claims.
func TestCircumstances(t *testing.T) {
	user := testKeys.user.PublicKey()
	a, b := session(t, testKeys.hosts[0], "a"), session(t, testKeys.hosts[1], "b")
	login := func(id string, host []byte) *Signing {
		method := wire.MethodPublickey
		if host != nil {
			method = wire.MethodHostbound
		}
		return signingOf(loginData([]byte(id), "alice", method, user.Type(), user.Marshal(), host))
	}
	fwd, auth := func(s Session) Binding { return Binding{s, true} }, func(s Session) Binding { return Binding{s, false} }
	for _, tt := range []struct {
		name      string
		way       []Binding
		failed    bool
		signing   *Signing
		hops      int
		host      []byte
		forwarded bool
	}{
		{"from here", nil, false, nil, 0, nil, false},
		{"a binding failed", nil, true, nil, 0, nil, true},
		{"bound for a login", []Binding{auth(b)}, false, nil, 0, b.HostKey, false},
		{"bound for a login, then a binding failed", []Binding{auth(b)}, true, nil, 0, b.HostKey, true},
		{"a login there", []Binding{auth(b)}, false, login("b", nil), 0, b.HostKey, false},
		{"a login on another session", []Binding{auth(b)}, false, login("x", nil), 0, nil, false},
		{"a login that names its host", nil, false, login("x", a.HostKey), 0, a.HostKey, false},
		{"a login on a session, that names another host", []Binding{auth(b)}, false, login("b", a.HostKey), 0, b.HostKey, false},
		{"no login", []Binding{auth(b)}, false, signingOf([]byte("data")), 0, nil, false},
		{"over a host", []Binding{fwd(a)}, false, nil, 1, nil, true},
		{"over a host, a login somewhere", []Binding{fwd(a)}, false, login("x", nil), 1, nil, true},
		{"over a host, a login there", []Binding{fwd(a), auth(b)}, false, login("b", b.HostKey), 1, b.HostKey, true},
	} {
		c := circumstancesOf(tt.way, tt.failed, tt.signing)
		if len(c.hops) != tt.hops || string(c.host) != string(tt.host) || c.forwarded() != tt.forwarded {
			t.Errorf("%s: got %d hops, host %s, forwarded %v", tt.name, len(c.hops), Fingerprint(c.host), c.forwarded())
		}
	}
}

// A certificate has the fingerprint of its key, as ssh-add -l shows it.
func TestFingerprint(t *testing.T) {
	pair := newKeyPair(t, "user", testKeys.raw)
	if got, want := Fingerprint(pair.cert.Marshal()), gossh.FingerprintSHA256(pair.public); got != want || Fingerprint(pair.public.Marshal()) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := Fingerprint([]byte("junk")); !strings.HasPrefix(got, fingerprintPrefix) {
		t.Errorf("junk: got %s", got)
	}
}
