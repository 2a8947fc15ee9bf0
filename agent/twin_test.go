package agent

import (
	"context"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// What a certificate may not be used for, its bare key does not sign in its name, nor
// the other way round: whether destinations, rules or a person say no.
func TestTwin(t *testing.T) {
	a := session(t, testKeys.hosts[0], "a")
	pair := newKeyPair(t, "user", testKeys.raw)
	login := func(named gossh.PublicKey) []byte {
		data := loginData(a.ID, "alice", wire.MethodHostbound, named.Type(), named.Marshal(), a.HostKey)
		return signing(pair.public, string(data), 0)
	}
	ring := func(cert AddedKey) *Keyring {
		r := ringWith(t, AddedKey{})
		cert.PrivateKey, cert.Certificate, cert.Comment = testKeys.raw, pair.cert, "certificate"
		if err := r.Add(cert); err != nil {
			t.Fatal(err)
		}
		return r
	}
	free, elsewhere, asks := ring(AddedKey{}), ring(AddedKey{Destinations: []Destination{only(-1, 1)}}), ring(AddedKey{Confirm: true})
	asked := 0
	asks.Confirm = func(context.Context, Confirmation) bool { asked++; return false }
	hidden := ring(AddedKey{})
	hidden.Rules = rulesOf(t, "deny type=*-cert-*")
	path, _ := listenAgent(t, false, ours(ring(AddedKey{})))
	for _, tt := range []struct {
		name  string
		agent Agent
		want  byte // to a login that names the certificate
	}{
		{"free", free, numSignature},
		{"it is for another host", elsewhere, numFailure},
		{"a person says no", asks, numFailure},
		{"a rule hides it", hidden, numFailure},
		{"a rule hides it before another agent", &Proxy{Upstreams: []*Dialer{Socket(path)}, Rules: hidden.Rules}, numFailure},
		{"no certificate is here", ringWith(t, AddedKey{}), numSignature},
	} {
		k := newAsker(t, tt.agent)
		wantReply(t, tt.name, k.ask(binding(a, false)), numSuccess)
		wantReply(t, tt.name+": the bare key's login", k.ask(login(pair.public)), numSignature)
		wantReply(t, tt.name+": the certificate's login", k.ask(login(pair.cert)), tt.want)
	}
	narrow := ringWith(t, AddedKey{Destinations: []Destination{only(-1, 1)}})
	if err := narrow.Add(AddedKey{PrivateKey: testKeys.raw, Certificate: pair.cert}); err != nil {
		t.Fatal(err)
	}
	k := newAsker(t, narrow)
	wantReply(t, "bind", k.ask(binding(a, false)), numSuccess)
	data := string(loginData(a.ID, "alice", wire.MethodHostbound, pair.public.Type(), pair.public.Marshal(), a.HostKey))
	wantReply(t, "the certificate signs for its bare key, which is for another host", k.ask(signing(pair.cert, data, 0)), numFailure)
	if asked != 1 {
		t.Errorf("a person was asked %d times, want once", asked)
	}
}
