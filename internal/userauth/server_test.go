package userauth

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// acceptKeys is a PublicKey callback for the keys, whoever the user is.
func acceptKeys(keys ...gossh.PublicKey) func(context.Context, string, gossh.PublicKey, bool) Verdict {
	return func(_ context.Context, _ string, key gossh.PublicKey, _ bool) Verdict {
		if slices.ContainsFunc(keys, func(k gossh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) }) {
			return Accept
		}
		return Refuse
	}
}

// request returns a request of alice's.
func request(method string, body interface{ Append([]byte) []byte }) *wire.UserauthRequest {
	m := &wire.UserauthRequest{User: "alice", Service: wire.ServiceConnection, Method: method}
	if body != nil {
		m.Body = body.Append(nil)
	}
	return m
}

// keyRequest is a public key request under construction: each field may be
// wrong on purpose.
type keyRequest struct {
	signer    gossh.Signer
	algorithm string
	sigAlgo   string // what is signed with; default algorithm
	user      string // in the request; default alice
	signUser  string // in what is signed; default user
	sessionID []byte
	hostKey   []byte // hostbound with it
	signHost  []byte // in what is signed; default hostKey
	key       []byte // in the request; default the signer's
	signKey   []byte // in what is signed; default key
	service   string // in what is signed
}

func (r keyRequest) build(t testing.TB) *wire.UserauthRequest {
	t.Helper()
	def := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	def(&r.sigAlgo, r.algorithm)
	def(&r.user, "alice")
	def(&r.signUser, r.user)
	def(&r.service, wire.ServiceConnection)
	for _, d := range []struct{ v, d *[]byte }{{&r.key, ptr(r.signer.PublicKey().Marshal())}, {&r.signKey, &r.key}, {&r.signHost, &r.hostKey}, {&r.sessionID, &testSessionID}} {
		if *d.v == nil {
			*d.v = *d.d
		}
	}
	method := wire.MethodPublickey
	if r.hostKey != nil {
		method = wire.MethodHostbound
	}
	signed := &wire.PublickeyBody{HasSignature: true, Algorithm: r.algorithm, Key: r.signKey, Hostbound: r.hostKey != nil, HostKey: r.signHost}
	data := wire.AppendString(nil, r.sessionID)
	data = (&wire.UserauthRequest{User: r.signUser, Service: r.service, Method: method, Body: signed.AppendUnsigned(nil)}).Append(data)
	var sig *gossh.Signature
	var err error
	if s, ok := r.signer.(gossh.AlgorithmSigner); ok {
		sig, err = s.SignWithAlgorithm(rand.Reader, data, algo.UnderlyingAlgorithm(r.sigAlgo))
	} else {
		sig, err = r.signer.Sign(rand.Reader, data)
	}
	if err != nil {
		t.Fatal(err)
	}
	body := *signed
	body.Key, body.HostKey, body.Signature = r.key, r.hostKey, gossh.Marshal(sig)
	return &wire.UserauthRequest{User: r.user, Service: wire.ServiceConnection, Method: method, Body: body.Append(nil)}
}

func ptr[T any](v T) *T { return &v }

func (p *peer) wantFailure(why string, methods ...string) {
	p.t.Helper()
	p.want(why, &wire.UserauthFailure{Methods: methods})
}

func (p *peer) wantServed(method string) {
	p.t.Helper()
	p.want("in", &wire.UserauthSuccess{})
	p.wait()
	if p.err != nil || p.login.User != "alice" || p.login.Method != method {
		p.t.Fatalf("login %+v, %v", p.login, p.err)
	}
}

func (p *peer) lastReason() string {
	events := p.rec.all()
	if len(events) == 0 {
		return ""
	}
	return events[len(events)-1].(trace.AuthAttempt).Err
}

func TestServerPublickey(t *testing.T) {
	key := newEd25519(t)
	p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys(key.PublicKey()), Banner: "hello"})
	p.begin()
	p.want("banner", &wire.UserauthBanner{Message: "hello"})
	p.send(request(wire.MethodNone, nil))
	p.wantFailure("none lists the methods", "publickey")
	blob := key.PublicKey().Marshal()
	p.send(request(wire.MethodPublickey, &wire.PublickeyBody{Algorithm: "ssh-ed25519", Key: blob}))
	p.want("probe", &wire.UserauthPKOK{Algorithm: "ssh-ed25519", Key: blob})
	other := newEd25519(t)
	p.send(request(wire.MethodPublickey, &wire.PublickeyBody{Algorithm: "ssh-ed25519", Key: other.PublicKey().Marshal()}))
	p.wantFailure("probe of another key", "publickey")
	p.send(keyRequest{signer: other, algorithm: "ssh-ed25519"}.build(t))
	p.wantFailure("another key, signed", "publickey")
	p.send(keyRequest{signer: key, algorithm: "ssh-ed25519"}.build(t))
	p.wantServed(wire.MethodPublickey)
	if !bytes.Equal(p.login.Key.Marshal(), blob) || p.login.Hostbound {
		t.Errorf("login %+v", p.login)
	}
	p.wantAttempts("none failure", "probe publickey key accepted", "probe publickey failure", "publickey failure", "publickey success")
}

func TestServerHostbound(t *testing.T) {
	key := newECDSA(t)
	p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys(key.PublicKey())})
	p.begin()
	p.send(request(wire.MethodHostbound, &wire.PublickeyBody{Algorithm: "ecdsa-sha2-nistp256", Key: key.PublicKey().Marshal(), Hostbound: true, HostKey: testHostKey}))
	p.want("probe", &wire.UserauthPKOK{Algorithm: "ecdsa-sha2-nistp256", Key: key.PublicKey().Marshal()})
	p.send(keyRequest{signer: key, algorithm: "ecdsa-sha2-nistp256", hostKey: testHostKey}.build(t))
	p.wantServed(wire.MethodHostbound)
	if !p.login.Hostbound {
		t.Error("the login is not known as host-bound")
	}
}

// Requests by an accepted key that prove nothing.
func TestServerForgeries(t *testing.T) {
	key, r := newEd25519(t), newRSA(t)
	cert := newCert(t, key)
	other := newEd25519(t)
	ed, blob := "ssh-ed25519", key.PublicKey().Marshal()
	cut := keyRequest{signer: key, algorithm: ed}.build(t)
	cutBody, err := wire.ParsePublickeyBody(cut.Body, false)
	if err != nil {
		t.Fatal(err)
	}
	flipped := *cutBody
	flipped.Signature = bytes.Clone(flipped.Signature)
	flipped.Signature[len(flipped.Signature)-1] ^= 1
	longer := *cutBody
	longer.Signature = append(bytes.Clone(longer.Signature), 0)
	none := *cutBody
	none.Signature = nil
	for _, tt := range []struct {
		name string
		m    *wire.UserauthRequest
		why  string
	}{
		{"another session", keyRequest{signer: key, algorithm: ed, sessionID: make([]byte, 32)}.build(t), "signature"},
		{"another user's", keyRequest{signer: key, algorithm: ed, signUser: "bob"}.build(t), "signature"},
		{"another service's", keyRequest{signer: key, algorithm: ed, service: "other"}.build(t), "signature"},
		{"signed by another key", keyRequest{signer: other, algorithm: ed, key: blob}.build(t), "signature"},
		{"names another key in what is signed", keyRequest{signer: key, algorithm: ed, signKey: other.PublicKey().Marshal()}.build(t), "signature"},
		{"bound to another host", keyRequest{signer: key, algorithm: ed, hostKey: []byte("another")}.build(t), "host key"},
		{"replayed from another host", keyRequest{signer: key, algorithm: ed, hostKey: testHostKey, signHost: []byte("another")}.build(t), "signature"},
		{"flipped bit", request(wire.MethodPublickey, &flipped), "signature"},
		{"bytes behind the signature", request(wire.MethodPublickey, &longer), "signature"},
		{"empty signature", request(wire.MethodPublickey, &none), "signature"},
		{"plain signature for hostbound", request(wire.MethodHostbound, &wire.PublickeyBody{HasSignature: true, Algorithm: ed, Key: blob, Hostbound: true, HostKey: testHostKey, Signature: cutBody.Signature}), "signature"},
		{"SHA-1", keyRequest{signer: r, algorithm: "ssh-rsa"}.build(t), "not accepted"},
		{"SHA-1 under another name", keyRequest{signer: r, algorithm: "rsa-sha2-256", sigAlgo: "ssh-rsa"}.build(t), "signature"},
		{"256 where 512 is named", keyRequest{signer: r, algorithm: "rsa-sha2-512", sigAlgo: "rsa-sha2-256"}.build(t), "signature"},
		{"algorithm of another key type", keyRequest{signer: key, algorithm: "rsa-sha2-512", sigAlgo: ed}.build(t), "does not fit"},
		{"plain algorithm for a certificate", keyRequest{signer: cert, algorithm: ed}.build(t), "does not fit"},
		{"certificate's algorithm for a plain key", keyRequest{signer: key, algorithm: gossh.CertAlgoED25519v01}.build(t), "does not fit"},
		{"unknown algorithm", keyRequest{signer: key, algorithm: "x\x1b", sigAlgo: ed}.build(t), "not accepted"},
		{"key that is none", request(wire.MethodPublickey, &wire.PublickeyBody{Algorithm: ed, Key: []byte("x")}), "parsed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys(key.PublicKey(), r.PublicKey(), cert.PublicKey())})
			p.begin()
			p.send(tt.m)
			p.wantFailure(tt.name, "publickey")
			if why := p.lastReason(); !strings.Contains(why, tt.why) {
				t.Errorf("refused because %q, want %q", why, tt.why)
			}
		})
	}
}

func TestServerAlgorithms(t *testing.T) {
	r, ed := newRSA(t), newEd25519(t)
	cert := newCert(t, r)
	for _, tt := range []struct {
		signer    gossh.Signer
		algorithm string
	}{{r, "rsa-sha2-256"}, {r, "rsa-sha2-512"}, {cert, "rsa-sha2-512-cert-v01@openssh.com"}, {ed, "ssh-ed25519"}} {
		cfg := ServerConfig{PublicKey: acceptKeys(tt.signer.PublicKey())}
		p := serverUnderTest(t, cfg)
		p.begin()
		p.send(keyRequest{signer: tt.signer, algorithm: tt.algorithm}.build(t))
		p.wantServed(wire.MethodPublickey)
		cfg.Algorithms = []string{"ecdsa-sha2-nistp256"}
		p = serverUnderTest(t, cfg)
		p.begin()
		p.send(keyRequest{signer: tt.signer, algorithm: tt.algorithm}.build(t))
		p.wantFailure("algorithm is not in the list", "publickey")
	}
}

// The answer about a key counts only when it was proved.
func TestServerAsksAgainWhenProved(t *testing.T) {
	key := newEd25519(t)
	p := serverUnderTest(t, ServerConfig{PublicKey: func(_ context.Context, _ string, _ gossh.PublicKey, proved bool) Verdict {
		if proved {
			return Refuse
		}
		return Accept
	}})
	p.begin()
	p.send(keyRequest{signer: key, algorithm: "ssh-ed25519"}.build(t))
	p.wantFailure("refused at last", "publickey")
}

func TestServerMultiStep(t *testing.T) {
	a, b := newEd25519(t), newEd25519(t)
	steps := [][]string{{"publickey"}, {"publickey"}, {"password"}}
	p := serverUnderTest(t, ServerConfig{
		PublicKey: func(ctx context.Context, user string, key gossh.PublicKey, proved bool) Verdict {
			return min(Partial, 2*acceptKeys(a.PublicKey(), b.PublicKey())(ctx, user, key, proved))
		},
		Password: func(context.Context, string, []byte) Verdict { return Accept },
		Next: func(_ string, done []string) []string {
			return steps[len(done)]
		},
	})
	p.begin()
	p.send(request(wire.MethodPassword, &wire.PasswordBody{Password: []byte("x")}))
	p.wantFailure("password has no turn", "publickey")
	p.send(keyRequest{signer: a, algorithm: "ssh-ed25519"}.build(t))
	p.want("first key", &wire.UserauthFailure{Methods: []string{"publickey"}, Partial: true})
	p.send(keyRequest{signer: a, algorithm: "ssh-ed25519", hostKey: testHostKey}.build(t))
	p.wantFailure("the same key again", "publickey")
	p.send(keyRequest{signer: b, algorithm: "ssh-ed25519"}.build(t))
	p.want("second key", &wire.UserauthFailure{Methods: []string{"password"}, Partial: true})
	p.send(request(wire.MethodPassword, &wire.PasswordBody{Password: []byte("x")}))
	p.wantServed(wire.MethodPassword)
	if got := fmt.Sprint(p.login.Steps); got != "[publickey publickey]" {
		t.Errorf("steps %s", got)
	}
}

func TestServerPartialWithoutNext(t *testing.T) {
	p := serverUnderTest(t, ServerConfig{
		Password: func(context.Context, string, []byte) Verdict { return Partial },
		Answers:  yes,
	})
	p.begin()
	p.send(request(wire.MethodPassword, &wire.PasswordBody{Password: []byte("x")}))
	p.want("the rest", &wire.UserauthFailure{Methods: []string{"keyboard-interactive"}, Partial: true})
	p.send(request(wire.MethodPassword, &wire.PasswordBody{Password: []byte("x")}))
	p.wantFailure("done already", "keyboard-interactive")
}

func TestServerMaxTries(t *testing.T) {
	p := serverUnderTest(t, ServerConfig{Password: func(context.Context, string, []byte) Verdict { return Refuse }})
	p.begin()
	p.send(request(wire.MethodNone, nil))
	p.wantFailure("the first none is free", "password")
	for range DefaultMaxTries - 1 {
		p.send(request(wire.MethodPassword, &wire.PasswordBody{Password: []byte("x")}))
		p.wantFailure("wrong", "password")
	}
	p.send(request(wire.MethodNone, nil))
	p.wantDisconnect("the second is not", wire.DisconnectNoMoreAuthMethodsAvailable, "too many authentication failures")
}

func TestServerLeavesWhatFollows(t *testing.T) {
	key := newEd25519(t)
	p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys(key.PublicKey())})
	p.send(&wire.ServiceRequest{Service: wire.ServiceUserauth}, keyRequest{signer: key, algorithm: "ssh-ed25519"}.build(t), &wire.ChannelOpen{Type: "session"})
	p.want("granted", &wire.ServiceAccept{Service: wire.ServiceUserauth})
	p.wantServed(wire.MethodPublickey)
	if b, err := p.under.ReadPacket(); err != nil || b[0] != wire.NumChannelOpen {
		t.Errorf("next is %q, %v", b, err)
	}
}

func TestServerFailureDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serverUnderTest(t, ServerConfig{
			Password:     func(context.Context, string, []byte) Verdict { <-time.After(time.Second); return Refuse },
			FailureDelay: 3 * time.Second,
		})
		p.begin()
		began := time.Now()
		p.send(request(wire.MethodNone, nil))
		p.wantFailure("none", "password")
		if d := time.Since(began); d != 0 {
			t.Errorf("none was answered after %v", d)
		}
		p.send(request(wire.MethodPassword, &wire.PasswordBody{Password: []byte("x")}))
		p.wantFailure("wrong", "password")
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("a failure was answered after %v, want 3 s", d)
		}
	})
}

func TestServerTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serverUnderTest(t, ServerConfig{PublicKey: acceptKeys()})
		p.begin()
		p.wait()
		if !errors.Is(p.err, context.DeadlineExceeded) {
			t.Errorf("error %v", p.err)
		}
		b, err := p.conn.ReadPacket()
		if err != nil || b[0] != wire.NumDisconnect || !bytes.Contains(b, []byte("too long")) {
			t.Errorf("the client hears %q, %v", b, err)
		}
	})
}

func TestServerConnectionEnds(t *testing.T) {
	p := serverUnderTest(t, ServerConfig{Answers: yes})
	p.begin()
	p.send(request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}))
	p.want("question", &wire.UserauthInfoRequest{Prompts: []wire.Prompt{{Text: "?"}}})
	p.conn.out.close(io.ErrUnexpectedEOF)
	p.wait()
	if !errors.Is(p.err, io.ErrUnexpectedEOF) || p.login != nil {
		t.Errorf("login %+v, %v", p.login, p.err)
	}
}
