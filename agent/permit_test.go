package agent

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// Each branch of the rules for keys with destinations (OpenSSH, ssh-agent.c,
// identity_permitted and process_sign_request2).
func TestDestinations(t *testing.T) {
	user := testKeys.user.PublicKey()
	a, b, c := testKeys.hosts[0], testKeys.hosts[1], testKeys.hosts[2]
	hop := func(user, name string, keys ...gossh.Signer) Hop {
		h := Hop{User: user, Hostname: name}
		for _, k := range keys {
			h.Keys = append(h.Keys, HostKey{Blob: k.PublicKey().Marshal()})
		}
		return h
	}
	authority := func(name string) Hop {
		return Hop{Hostname: name, Keys: []HostKey{{Blob: testKeys.other.PublicKey().Marshal(), Authority: true}}}
	}
	toA := Destination{To: hop("", "a", a)}
	aToB := Destination{From: hop("", "a", a), To: hop("", "b", b)}
	certified := func(change func(*gossh.Certificate)) gossh.Signer { return certifiedHost(t, c, change) }
	host := func(s gossh.Signer, forwarding bool) bound {
		return bound{Binding{session(t, s, "id of "+s.PublicKey().Type()+string(s.PublicKey().Marshal()[40:60])), forwarding}, s.PublicKey()}
	}
	type login = struct {
		user, method string
		change       func(*loginParts)
	}
	good := login{"alice", wire.MethodHostbound, nil}
	for _, tt := range []struct {
		name      string
		ds        []Destination
		way       []bound
		attempted bool
		login     login
		seen      error // nil: it can be seen
		used      error // nil: it signs
	}{
		{"no destinations", nil, []bound{host(b, true)}, true, good, nil, nil},
		{"here", []Destination{toA}, nil, false, good, nil, errNotBound},
		{"a binding failed", []Destination{toA}, nil, true, good, errBindFailed, errNotBound},
		{"to a host that is allowed", []Destination{toA}, []bound{host(a, false)}, true, good, nil, nil},
		{"to another host", []Destination{toA}, []bound{host(b, false)}, true, good, errNoWay, errNoWay},
		{"forwarded, and not on from there", []Destination{toA}, []bound{host(a, true)}, true, good, errNothingLeft, errForwarded},
		{"forwarded, and on from there", []Destination{toA, aToB}, []bound{host(a, true)}, true, good, nil, errForwarded},
		{"to the second host", []Destination{toA, aToB}, []bound{host(a, true), host(b, false)}, true, good, nil, nil},
		{"the second host is not the first's to reach", []Destination{toA}, []bound{host(a, true), host(b, false)}, true, good, errNoWay, errNoWay},
		{"to the second host only", []Destination{aToB}, []bound{host(a, true), host(b, false)}, true, good, errNoWay, errNoWay},
		{"the hops in the wrong order", []Destination{toA, aToB}, []bound{host(b, true), host(a, false)}, true, good, errNoWay, errNoWay},
		{"beyond a login", []Destination{toA, aToB}, []bound{host(a, false), host(b, false)}, true, good, errThroughAuth, errThroughAuth},
		{"behind another host, not bound to its key", []Destination{toA, aToB}, []bound{host(a, true), host(b, false)}, true, login{"alice", wire.MethodPublickey, nil}, nil, errNotHostbond},
		{"directly, not bound to its key", []Destination{toA}, []bound{host(a, false)}, true, login{"alice", wire.MethodPublickey, nil}, nil, nil},
		{"bound to another host's key", []Destination{toA}, []bound{host(a, false)}, true, login{"alice", wire.MethodHostbound, func(l *loginParts) { l.hostKey = b.PublicKey().Marshal() }}, nil, errOtherHost},
		{"another session", []Destination{toA}, []bound{host(a, false)}, true, login{"alice", wire.MethodHostbound, func(l *loginParts) { l.id = []byte("other") }}, nil, errOtherID},
		{"another key named", []Destination{toA}, []bound{host(a, false)}, true, login{"alice", wire.MethodHostbound, func(l *loginParts) { l.key = a.PublicKey().Marshal() }}, nil, errNoLogin},
		{"an algorithm of another type", []Destination{toA}, []bound{host(a, false)}, true, login{"alice", wire.MethodHostbound, func(l *loginParts) { l.algorithm = gossh.KeyAlgoRSASHA256 }}, nil, errNoLogin},
		{"more behind it", []Destination{toA}, []bound{host(a, false)}, true, login{"alice", wire.MethodHostbound, func(l *loginParts) { l.behind = "x" }}, nil, errNoLogin},
		{"another method", []Destination{toA}, []bound{host(a, false)}, true, login{"alice", "hostbased", nil}, nil, errNoLogin},
		{"another service", []Destination{toA}, []bound{host(a, false)}, true, login{"alice", wire.MethodHostbound, func(l *loginParts) { l.service = "ssh-userauth" }}, nil, errNoLogin},
		{"no login", []Destination{toA}, []bound{host(a, false)}, true, login{"alice", wire.MethodHostbound, func(l *loginParts) { l.data = []byte("SSHSIG") }}, nil, errNoLogin},
		{"user", []Destination{{To: hop("alice", "a", a)}}, []bound{host(a, false)}, true, good, nil, nil},
		{"another user", []Destination{{To: hop("bob", "a", a)}}, []bound{host(a, false)}, true, good, nil, errNoWay},
		{"a pattern of users", []Destination{{To: hop("al?c*", "a", a)}}, []bound{host(a, false)}, true, good, nil, nil},
		{"a list of users is no pattern", []Destination{{To: hop("bob,alice", "a", a)}}, []bound{host(a, false)}, true, good, nil, errNoWay},
		{"a user on the way does not matter", []Destination{{To: hop("bob", "a", a)}, aToB}, []bound{host(a, true), host(b, false)}, true, good, nil, nil},
		{"any of several keys", []Destination{{To: hop("", "a", b, a)}}, []bound{host(a, false)}, true, good, nil, nil},
		{"a key listed as an authority", []Destination{{To: Hop{Hostname: "a", Keys: []HostKey{{a.PublicKey().Marshal(), true}}}}}, []bound{host(a, false)}, true, good, errNoWay, errNoWay},
		{"a certificate", []Destination{{To: authority("c")}}, []bound{host(certified(func(cert *gossh.Certificate) { cert.ValidPrincipals = []string{"x", "c"} }), false)}, true, good, nil, nil},
		{"a certificate for a pattern of names", []Destination{{To: authority("c")}}, []bound{host(certified(func(cert *gossh.Certificate) { cert.ValidPrincipals = []string{"x", "*"} }), false)}, true, good, nil, nil},
		{"a certificate for no name", []Destination{{To: authority("c")}}, []bound{host(certified(nil), false)}, true, good, errNoWay, errNoWay},
		{"a pattern as the name", []Destination{{To: authority("*")}}, []bound{host(certified(func(cert *gossh.Certificate) { cert.ValidPrincipals = []string{"c"} }), false)}, true, good, errNoWay, errNoWay},
		{"a certificate for another name", []Destination{{To: authority("c")}}, []bound{host(certified(func(cert *gossh.Certificate) { cert.ValidPrincipals = []string{"x"} }), false)}, true, good, errNoWay, errNoWay},
		{"a certificate that has ended", []Destination{{To: authority("c")}}, []bound{host(certified(func(cert *gossh.Certificate) { cert.ValidPrincipals, cert.ValidBefore = []string{"c"}, 1 }), false)}, true, good, errNoWay, errNoWay},
		{"a certificate of a user", []Destination{{To: authority("c")}}, []bound{host(certified(func(cert *gossh.Certificate) {
			cert.ValidPrincipals, cert.CertType = []string{"c"}, gossh.UserCert
		}), false)}, true, good, errNoWay, errNoWay},
		{"a certificate whose authority is listed as a host", []Destination{{To: hop("", "c", testKeys.other)}}, []bound{host(certified(nil), false)}, true, good, errNoWay, errNoWay},
		{"a certificate's key is listed", []Destination{{To: hop("", "c", c)}}, []bound{host(certified(nil), false)}, true, good, errNoWay, errNoWay},
		{"a certificate by another authority", []Destination{{To: Hop{Hostname: "c", Keys: []HostKey{{a.PublicKey().Marshal(), true}}}}}, []bound{host(certified(nil), false)}, true, good, errNoWay, errNoWay},
	} {
		parts := &loginParts{user: tt.login.user, method: tt.login.method, service: wire.ServiceConnection, algorithm: gossh.KeyAlgoED25519, key: user.Marshal()}
		if n := len(tt.way); n > 0 {
			parts.id, parts.hostKey = tt.way[n-1].ID, tt.way[n-1].HostKey
		}
		if tt.login.change != nil {
			tt.login.change(parts)
		}
		now := time.Now()
		if got := visible(tt.ds, tt.way, tt.attempted, now); !errors.Is(got, tt.seen) || (got == nil) != (tt.seen == nil) {
			t.Errorf("%s: seen: got %v, want %v", tt.name, got, tt.seen)
		}
		if got := usable(tt.ds, user, parts.bytes(), tt.way, tt.attempted, now); !errors.Is(got, tt.used) || (got == nil) != (tt.used == nil) {
			t.Errorf("%s: used: got %v, want %v", tt.name, got, tt.used)
		}
	}
}

// loginParts are the parts of what is signed for a login.
type loginParts struct {
	id                               []byte
	user, service, method, algorithm string
	key, hostKey                     []byte
	behind                           string
	data                             []byte // instead of all others
}

func (l *loginParts) bytes() []byte {
	if l.data != nil {
		return l.data
	}
	b := wire.AppendString(append(wire.AppendString(nil, l.id), wire.NumUserauthRequest), l.user)
	b = wire.AppendString(wire.AppendString(b, l.service), l.method)
	b = wire.AppendString(wire.AppendString(append(b, 1), l.algorithm), l.key)
	if l.method == wire.MethodHostbound {
		b = wire.AppendString(b, l.hostKey)
	}
	return append(b, l.behind...)
}

// OpenSSH's client before 10.3 names the certificate and asks the bare key to
// sign. That is the same signature; another key's certificate is not.
func TestCertificateNamedForItsKey(t *testing.T) {
	pair := newKeyPair(t, "user", testKeys.raw)
	stranger := newKeyPair(t, "other", testKeys.hostRaw[1])
	for _, tt := range []struct {
		name  string
		named *gossh.Certificate
		ok    bool
	}{{"its own", pair.cert, true}, {"another's", stranger.cert, false}} {
		data := loginData([]byte("id"), "alice", wire.MethodPublickey, gossh.CertAlgoED25519v01, tt.named.Marshal(), nil)
		if _, err := parseLogin(data, pair.public); (err == nil) != tt.ok {
			t.Errorf("%s certificate: got %v", tt.name, err)
		}
	}
}

// A binding is recorded only with the host's own signature.
func TestParseBinding(t *testing.T) {
	whole := session(t, testKeys.hosts[0], "id")
	request := binding(whole, true)
	body := extensionBody(t, request)
	b, key, err := parseBinding(body)
	if err != nil || !b.Forwarding || string(b.ID) != "id" || string(key.Marshal()) != string(whole.HostKey) {
		t.Fatalf("got %+v, %v", b, err)
	}
	for n := range body {
		if _, _, err := parseBinding(body[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are a binding", n, len(body))
		}
	}
	other, err := testKeys.hosts[1].Sign(rand.Reader, []byte("id"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Session){
		"another id":        func(s *Session) { s.ID = []byte("other") },
		"another host":      func(s *Session) { s.HostKey = testKeys.hosts[1].PublicKey().Marshal() },
		"another signature": func(s *Session) { s.Signature = appendSignature(nil, other)[5:] },
		"no signature":      func(s *Session) { s.Signature = nil },
		"no key":            func(s *Session) { s.HostKey = []byte("key") },
	} {
		s := whole
		change(&s)
		if _, _, err := parseBinding(extensionBody(t, binding(s, true))); err == nil {
			t.Errorf("%s: the binding was taken", name)
		}
		if err := s.Verify(); err == nil {
			t.Errorf("%s: Verify says yes", name)
		}
	}
	if _, _, err := parseBinding(extensionBody(t, binding(session(t, testKeys.hosts[0], strings.Repeat("x", maxSessionID+1)), true))); err == nil {
		t.Error("a session id that is too long was taken")
	}
	forged := certifiedHost(t, testKeys.hosts[2], nil).PublicKey().(*gossh.Certificate)
	forged.KeyId = "changed"
	if _, err := parsePublic(forged.Marshal()); err == nil {
		t.Error("a certificate was taken that nobody has signed")
	}
	cert := session(t, certifiedHost(t, testKeys.hosts[2], nil), "id")
	if _, _, err := parseBinding(extensionBody(t, binding(cert, false))); err != nil {
		t.Errorf("a host's certificate: %v", err)
	}
}

func extensionBody(t testing.TB, request []byte) []byte {
	t.Helper()
	p := wire.NewParser(request[1:])
	if name := p.String(); name != extSessionBind {
		t.Fatal(fmt.Errorf("extension %q", name))
	}
	return p.Rest()
}
