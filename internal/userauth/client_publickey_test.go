package userauth

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"reflect"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// One key, extensions known: one flight, one round trip.
func TestClientSignsAtOnce(t *testing.T) {
	key := newEd25519(t)
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(key)}, serverSigs, modernSigs, hostbound, "0")
	p.want("first", &wire.ServiceRequest{Service: wire.ServiceUserauth})
	p.wantKey("no none, no probe", key.PublicKey(), "ssh-ed25519", true, true)
	p.send(&wire.ServiceAccept{Service: wire.ServiceUserauth}, &wire.UserauthSuccess{})
	p.wantLogin(wire.MethodPublickey)
	if got, want := p.under.flights, [][]string{{"SERVICE_REQUEST", "USERAUTH_REQUEST"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("flights %v, want %v", got, want)
	}
	if !p.res.Hostbound || p.res.Fingerprint != gossh.FingerprintSHA256(key.PublicKey()) {
		t.Errorf("result %+v", p.res)
	}
	p.wantAttempts("publickey-hostbound-v00@openssh.com success")
}

// Extensions not known yet: a probe learns them, the signature is bound.
func TestClientProbesWhileExtensionsAreUnknown(t *testing.T) {
	key := newRSA(t)
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(key)})
	p.want("first", &wire.ServiceRequest{Service: wire.ServiceUserauth})
	b := p.wantKey("probe in the same flight", key.PublicKey(), "rsa-sha2-256", false, false)
	p.under.extensions(serverSigs, modernSigs, hostbound, "0")
	p.send(&wire.ServiceAccept{Service: wire.ServiceUserauth}, &wire.UserauthPKOK{Algorithm: b.Algorithm, Key: b.Key})
	p.wantKey("now bound", key.PublicKey(), "rsa-sha2-256", true, true)
	p.send(&wire.UserauthSuccess{})
	p.wantLogin(wire.MethodPublickey)
	p.wantAttempts("probe publickey key accepted", "publickey-hostbound-v00@openssh.com success")
}

func TestClientPipeline(t *testing.T) {
	key := newEd25519(t)
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(key), Pipeline: true})
	p.want("first", &wire.ServiceRequest{Service: wire.ServiceUserauth})
	p.wantKey("signed, plain", key.PublicKey(), "ssh-ed25519", false, true)
	p.send(&wire.ServiceAccept{}, &wire.UserauthSuccess{})
	p.wantLogin(wire.MethodPublickey)
}

func TestClientTriesKeysInOrder(t *testing.T) {
	a, b, c := newEd25519(t), newECDSA(t), newRSA(t)
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(a, b, a, c)}, serverSigs, modernSigs)
	p.accept()
	p.wantKey("probe of several", a.PublicKey(), "ssh-ed25519", false, false)
	p.fail("publickey")
	k := p.wantKey("the next", b.PublicKey(), "ecdsa-sha2-nistp256", false, false)
	p.send(&wire.UserauthPKOK{Algorithm: k.Algorithm, Key: k.Key})
	p.wantKey("signed", b.PublicKey(), "ecdsa-sha2-nistp256", false, true)
	p.fail("publickey")
	p.wantKey("the last needs no probe", c.PublicKey(), "rsa-sha2-512", false, true)
	p.fail("publickey")
	p.wantRequest("a server without authentication does not list none", wire.MethodNone)
	p.fail("publickey", "hostbased")
	e := p.wantRefused(`permission denied for user "alice"`, "publickey key0 ssh-ed25519 SHA256:", "publickey key1 ecdsa", "the server takes publickey,hostbased")
	if len(e.Tried) != 3 {
		t.Errorf("tried %q", e.Tried)
	}
}

func TestClientKnownKeyGoesFirst(t *testing.T) {
	a, b := newEd25519(t), newEd25519(t)
	keys := func(context.Context) ([]Key, error) { return []Key{{Signer: a}, {Signer: b, Known: true}}, nil }
	p := clientUnderTest(t, ClientConfig{Keys: keys}, serverSigs, modernSigs)
	p.accept()
	p.wantKey("the known one, signed", b.PublicKey(), "ssh-ed25519", false, true)
	p.send(&wire.UserauthSuccess{})
	p.wantLogin(wire.MethodPublickey)
}

func TestClientProbesKeysThatBother(t *testing.T) {
	s := &countingSigner{Signer: newEd25519(t)}
	keys := func(context.Context) ([]Key, error) { return []Key{{Signer: s, Probe: true}}, nil }
	p := clientUnderTest(t, ClientConfig{Keys: keys}, serverSigs, modernSigs)
	p.accept()
	p.wantKey("probe", s.PublicKey(), "ssh-ed25519", false, false)
	p.fail("password")
	p.wantRequest("last resort", wire.MethodNone)
	p.fail("password")
	p.wantRefused("the server takes password")
	if s.signed > 0 {
		t.Error("a key that the server does not take was used")
	}
}

// A key that nobody knows before its passphrase is typed waits for its turn: until
// the server has said that it takes keys, and has refused those before it.
func TestClientOpensKeysInTheirTurn(t *testing.T) {
	a, b := newEd25519(t), newEd25519(t)
	for _, alone := range []bool{true, false} {
		opened := make(chan string, 3)
		open := func(name string, s gossh.Signer, err error) Key {
			return Key{Comment: name, Open: func(context.Context) (gossh.Signer, error) {
				opened <- name
				return s, err
			}}
		}
		keys := []Key{open("broken", nil, errors.New("the passphrase was wrong")), open("old", b, nil), open("copy", b, nil)}
		if !alone {
			keys = append([]Key{{Signer: a, Comment: "first"}}, keys...)
		}
		p := clientUnderTest(t, ClientConfig{Keys: func(context.Context) ([]Key, error) { return keys, nil }}, serverSigs, modernSigs)
		p.accept()
		if alone {
			p.wantRequest("does it take keys?", wire.MethodNone)
		} else {
			p.wantKey("first", a.PublicKey(), "ssh-ed25519", false, false)
		}
		if len(opened) > 0 {
			t.Error("opened too early")
		}
		p.fail("publickey")
		p.wantKey("the second that was opened", b.PublicKey(), "ssh-ed25519", false, false)
		if len(opened) != 2 || <-opened != "broken" || <-opened != "old" {
			t.Error("opened in another order")
		}
		p.fail("publickey")
		if !alone {
			p.wantRequest("last resort", wire.MethodNone)
			p.fail("publickey")
		}
		e := p.wantRefused("broken: the passphrase was wrong")
		if want := 1 + len(keys) - 3; len(e.Tried) != want {
			t.Errorf("tried %q, want %d keys", e.Tried, want)
		}
	}
	p := clientUnderTest(t, ClientConfig{Keys: func(context.Context) ([]Key, error) {
		return []Key{{Comment: "old", Open: func(context.Context) (gossh.Signer, error) { panic("BUG: the server takes no keys") }}}, nil
	}}, serverSigs, modernSigs)
	p.accept()
	p.wantRequest("does it take keys?", wire.MethodNone)
	p.fail("password")
	p.wantRefused("there was nothing to try; the server takes password")
}

type countingSigner struct {
	gossh.Signer
	signed int
}

func (s *countingSigner) Sign(r io.Reader, data []byte) (*gossh.Signature, error) {
	s.signed++
	return s.Signer.Sign(r, data)
}

func TestClientCertificates(t *testing.T) {
	key := newRSA(t)
	cert := newCert(t, key)
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(cert, key)}, serverSigs, modernSigs, hostbound, "0")
	p.accept()
	b := p.wantKey("certificate", cert.PublicKey(), "rsa-sha2-512-cert-v01@openssh.com", true, false)
	p.send(&wire.UserauthPKOK{Algorithm: b.Algorithm, Key: b.Key})
	p.wantKey("signed", cert.PublicKey(), "rsa-sha2-512-cert-v01@openssh.com", true, true)
	p.fail("publickey")
	p.wantKey("its key is another key", key.PublicKey(), "rsa-sha2-512", true, true)
	p.send(&wire.UserauthSuccess{})
	p.wantLogin(wire.MethodPublickey)
}

// A signature is bound to the host key where the server offers that, unless it must
// not be.
func TestClientUnbound(t *testing.T) {
	key := newEd25519(t)
	for _, unbound := range []bool{false, true} {
		p := clientUnderTest(t, ClientConfig{Keys: keysOf(key), Unbound: unbound}, serverSigs, modernSigs, hostbound, "0")
		p.accept()
		p.wantKey("signed", key.PublicKey(), "ssh-ed25519", !unbound, true)
		p.send(&wire.UserauthSuccess{})
		p.wantLogin(wire.MethodPublickey)
	}
}

func TestClientChoosesTheAlgorithm(t *testing.T) {
	ed, r := newEd25519(t), newRSA(t)
	sha1, err := gossh.NewSignerWithAlgorithms(r.(gossh.AlgorithmSigner), []string{gossh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	only256, err := gossh.NewSignerWithAlgorithms(r.(gossh.AlgorithmSigner), []string{gossh.KeyAlgoRSASHA256})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		signer  gossh.Signer
		allowed []string
		sigs    string // "-" is none
		want    string
	}{
		{"best of the list", r, nil, modernSigs, "rsa-sha2-512"},
		{"only 256", r, nil, "ssh-ed25519,rsa-sha2-256", "rsa-sha2-256"},
		{"no list", r, nil, "-", "rsa-sha2-256"},
		{"SHA-1 only", r, nil, "ssh-rsa", ""},
		{"SHA-1 by name", r, []string{"ssh-rsa"}, "ssh-rsa", "ssh-rsa"},
		{"SHA-1 by name, better there", r, []string{"ssh-rsa", "rsa-sha2-256"}, "ssh-rsa,rsa-sha2-256", "rsa-sha2-256"},
		{"signer makes SHA-1 only", sha1, nil, "ssh-rsa,rsa-sha2-256", ""},
		{"signer makes 256 only", only256, nil, modernSigs, "rsa-sha2-256"},
		{"not in the list", ed, nil, "ecdsa-sha2-nistp256,rsa-sha2-256", ""},
		{"old OpenSSH lists RSA only", ed, nil, "rsa-sha2-256,rsa-sha2-512", "ssh-ed25519"},
		{"not allowed", ed, []string{"rsa-sha2-512"}, modernSigs, ""},
		{"certificate by the name of its signature", newCert(t, ed), nil, modernSigs, "ssh-ed25519-cert-v01@openssh.com"},
		{"certificate not allowed", newCert(t, ed), []string{"ssh-ed25519"}, modernSigs, ""},
	} {
		conn, _ := memPipe()
		if tt.sigs != "-" {
			conn.extensions(serverSigs, tt.sigs)
		}
		c := &client{pc: conn, cfg: ClientConfig{Algorithms: tt.allowed}}
		if got := c.algorithm(&Key{Signer: tt.signer}); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestClientNotesKeysOfNoUse(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(newEd25519(t))}, serverSigs, "ecdsa-sha2-nistp256")
	p.accept()
	p.wantRequest("nothing to sign with", wire.MethodNone)
	p.fail("publickey")
	p.wantRefused("there was nothing to try", "the server takes no signature that key0 ssh-ed25519 SHA256:")
}

// Limits of our own are not the server's fault.
func TestClientNotesKeysOfNoUseToUs(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(newEd25519(t)), Algorithms: []string{"rsa-sha2-512"}}, serverSigs, "ssh-ed25519")
	p.accept()
	p.wantRequest("nothing to sign with", wire.MethodNone)
	p.fail("publickey")
	p.wantRefused("there was nothing to try", "we may make no signature that key0 ssh-ed25519 SHA256:")
}

type failingSigner struct{ gossh.Signer }

func (failingSigner) Sign(io.Reader, []byte) (*gossh.Signature, error) {
	return nil, errors.New("agent refused")
}

func TestClientGoesOnAfterASignerFails(t *testing.T) {
	bad := struct{ failingSigner }{failingSigner{newECDSA(t)}}
	good := newEd25519(t)
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(bad, good)}, serverSigs, modernSigs)
	p.accept()
	b := p.wantKey("probe", bad.PublicKey(), "ecdsa-sha2-nistp256", false, false)
	p.send(&wire.UserauthPKOK{Algorithm: b.Algorithm, Key: b.Key})
	p.wantKey("the other", good.PublicKey(), "ssh-ed25519", false, true)
	p.fail("publickey")
	p.wantRequest("last resort", wire.MethodNone)
	p.fail("publickey")
	p.wantRefused("key0 does not sign: agent refused")
}

func TestClientKeysError(t *testing.T) {
	keys := func(context.Context) ([]Key, error) { return nil, errors.New("agent is not there") }
	p := clientUnderTest(t, ClientConfig{Keys: keys})
	p.accept()
	p.wantRequest("other methods remain", wire.MethodNone)
	p.fail("publickey")
	p.wantRefused("keys: agent is not there")
}

type contextSigner struct {
	gossh.Signer
	ctx context.Context // that it was called with
}

func (s *contextSigner) SignContext(ctx context.Context, data []byte, algorithm string) (*gossh.Signature, error) {
	s.ctx = ctx
	return s.Signer.(gossh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, data, algorithm)
}

func TestClientContextSigner(t *testing.T) {
	s := &contextSigner{Signer: newRSA(t)}
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(s)}, serverSigs, modernSigs)
	p.accept()
	p.wantKey("signed", s.PublicKey(), "rsa-sha2-512", false, true)
	p.send(&wire.UserauthSuccess{})
	p.wantLogin(wire.MethodPublickey)
	if s.ctx == nil {
		t.Error("the signer got no context")
	}
}
