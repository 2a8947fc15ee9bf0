package userauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

const (
	hostbound  = wire.ExtHostbound
	serverSigs = wire.ExtServerSigAlgs
	modernSigs = "ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256"
)

func (p *peer) wantLogin(method string) {
	p.t.Helper()
	p.wait()
	if p.err != nil || p.res == nil || p.res.Method != method {
		p.t.Fatalf("login: %+v, %v, want by %s", p.res, p.err, method)
	}
}

func (p *peer) wantRefused(parts ...string) *AuthError {
	p.t.Helper()
	p.wait()
	e, ok := errors.AsType[*AuthError](p.err)
	if !ok {
		p.t.Fatalf("error is %v, want an AuthError", p.err)
	}
	for _, s := range parts {
		if !strings.Contains(e.Error(), s) {
			p.t.Errorf("error %q does not say %q", e, s)
		}
	}
	return e
}

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

func TestClientAsksWithNoneWithoutKeys(t *testing.T) {
	for name, cfg := range map[string]ClientConfig{
		"no keys":        {Keys: keysOf()},
		"no callback":    {},
		"password first": {Methods: []string{wire.MethodPassword, wire.MethodPublickey}, Keys: keysOf(newEd25519(t))},
	} {
		t.Run(name, func(t *testing.T) {
			p := clientUnderTest(t, cfg)
			p.want("first", &wire.ServiceRequest{Service: wire.ServiceUserauth})
			p.wantRequest("in the same flight", wire.MethodNone)
			p.send(&wire.ServiceAccept{Service: wire.ServiceUserauth}, &wire.UserauthSuccess{})
			p.wantLogin(wire.MethodNone)
		})
	}
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
	p.wantRefused("there was nothing to try", "no signature that key0 ssh-ed25519 SHA256:")
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

func TestClientMultiStep(t *testing.T) {
	a, b := newEd25519(t), newEd25519(t)
	p := clientUnderTest(t, ClientConfig{
		Keys:     keysOf(a, b),
		Password: func(context.Context) (string, error) { return "secret", nil },
	}, serverSigs, modernSigs)
	p.accept()
	p.wantKey("publickey has no turn yet", a.PublicKey(), "ssh-ed25519", false, false)
	p.fail("password")
	m := p.wantRequest("what the server takes", wire.MethodPassword)
	if pw, err := wire.ParsePasswordBody(m.Body); err != nil || string(pw.Password) != "secret" {
		t.Fatalf("password request %+v, %v", pw, err)
	}
	p.partial("publickey")
	k := p.wantKey("a key refused before its turn is tried again", a.PublicKey(), "ssh-ed25519", false, false)
	p.send(&wire.UserauthPKOK{Algorithm: k.Algorithm, Key: k.Key})
	p.wantKey("signed", a.PublicKey(), "ssh-ed25519", false, true)
	p.partial("publickey")
	p.wantKey("a key that was right is not", b.PublicKey(), "ssh-ed25519", false, true)
	p.send(&wire.UserauthSuccess{})
	p.wantLogin(wire.MethodPublickey)
	if got := fmt.Sprint(p.res.Steps); got != "[password publickey]" {
		t.Errorf("steps %s", got)
	}
	p.wantAttempts("probe publickey failure", "password partial", "probe publickey key accepted", "publickey partial", "publickey success")
}

func TestClientPasswordTries(t *testing.T) {
	asked := 0
	p := clientUnderTest(t, ClientConfig{Password: func(context.Context) (string, error) { asked++; return "secret", nil }, Tries: 2})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("password")
	p.wantRequest("once", wire.MethodPassword)
	p.fail("password")
	p.wantRequest("twice", wire.MethodPassword)
	p.fail("password")
	e := p.wantRefused("tried password (2 times)")
	if asked != 2 || strings.Contains(e.Error(), "secret") {
		t.Errorf("asked %d times; %v", asked, e)
	}
}

func TestClientPasswordChange(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{
		Password: func(context.Context) (string, error) { return "old", nil },
		NewPassword: func(_ context.Context, prompt string) (string, string, error) {
			if prompt != "expired" {
				t.Errorf("prompt %q", prompt)
			}
			return "old", "new", nil
		},
	})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("password")
	p.wantRequest("password", wire.MethodPassword)
	p.send(&wire.UserauthPasswdChange{Prompt: "expired"})
	m := p.wantRequest("both", wire.MethodPassword)
	if b, err := wire.ParsePasswordBody(m.Body); err != nil || !b.Change || string(b.Password) != "old" || string(b.New) != "new" {
		t.Errorf("change request %+v, %v", b, err)
	}
	p.send(&wire.UserauthSuccess{})
	p.wantLogin(wire.MethodPassword)
}

func TestClientPasswordChangeEndlessly(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{
		Password:    func(context.Context) (string, error) { return "old", nil },
		NewPassword: func(context.Context, string) (string, string, error) { return "old", "new", nil },
	})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("password")
	for range maxChanges {
		p.wantRequest("again", wire.MethodPassword)
		p.send(&wire.UserauthPasswdChange{})
	}
	p.wantDisconnect("no end", wire.DisconnectProtocolError, "password")
}

func TestClientPasswordChangeWithoutAnybody(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{Password: func(context.Context) (string, error) { return "old", nil }})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("password")
	p.wantRequest("password", wire.MethodPassword)
	p.send(&wire.UserauthPasswdChange{})
	p.wait()
	if p.err == nil || !strings.Contains(p.err.Error(), "nobody to ask") {
		t.Errorf("error %v", p.err)
	}
}

func TestClientKeyboardInteractive(t *testing.T) {
	type round struct {
		name, instruction string
		prompts           []wire.Prompt
	}
	var asked []round
	p := clientUnderTest(t, ClientConfig{
		Answer: func(_ context.Context, name, instruction string, prompts []wire.Prompt) ([]string, error) {
			asked = append(asked, round{name, instruction, prompts})
			return []string{"a1", "a2"}[:len(prompts)], nil
		},
	})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("keyboard-interactive")
	m := p.wantRequest("then", wire.MethodKeyboardInteractive)
	if b, err := wire.ParseKbdintBody(m.Body); err != nil || b.Language != "" || b.Submethods != "" {
		t.Errorf("request %+v, %v", b, err)
	}
	prompts := []wire.Prompt{{Text: "Password: "}, {Text: "Code: ", Echo: true}}
	p.send(&wire.UserauthInfoRequest{Name: "n", Instruction: "i", Prompts: prompts})
	p.want("answers", &wire.UserauthInfoResponse{Answers: []string{"a1", "a2"}})
	p.send(&wire.UserauthInfoRequest{})
	p.want("no question: no answer, nobody asked", &wire.UserauthInfoResponse{})
	p.send(&wire.UserauthInfoRequest{Instruction: "changed"})
	p.want("no question, but a text", &wire.UserauthInfoResponse{})
	p.send(&wire.UserauthSuccess{})
	p.wantLogin(wire.MethodKeyboardInteractive)
	if want := []round{{"n", "i", prompts}, {"", "changed", nil}}; !reflect.DeepEqual(asked, want) {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
}

func TestClientKeyboardInteractiveWithoutQuestion(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{
		Methods: []string{wire.MethodKeyboardInteractive},
		Answer:  func(context.Context, string, string, []wire.Prompt) ([]string, error) { return nil, nil },
	})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("keyboard-interactive")
	p.wantRequest("once", wire.MethodKeyboardInteractive)
	p.fail("keyboard-interactive")
	p.wantRefused("tried keyboard-interactive;")
}

func TestClientKeyboardInteractiveEndlessly(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{Answer: func(context.Context, string, string, []wire.Prompt) ([]string, error) { return nil, nil }})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("keyboard-interactive")
	p.wantRequest("then", wire.MethodKeyboardInteractive)
	for range maxRounds {
		p.send(&wire.UserauthInfoRequest{})
		p.want("answer", &wire.UserauthInfoResponse{})
	}
	p.send(&wire.UserauthInfoRequest{})
	p.wantDisconnect("no end", wire.DisconnectProtocolError, "rounds")
}

func TestClientCallbackErrors(t *testing.T) {
	boom := errors.New("no terminal")
	script := func(cfg ClientConfig) *peer {
		p := clientUnderTest(t, cfg)
		p.accept()
		p.wantRequest("first", wire.MethodNone)
		p.fail("password", "keyboard-interactive")
		return p
	}
	p := script(ClientConfig{Password: func(context.Context) (string, error) { return "", boom }})
	p.wait()
	if _, ok := errors.AsType[*AuthError](p.err); ok || !errors.Is(p.err, boom) {
		t.Errorf("error of Password: %v", p.err)
	}
	p = script(ClientConfig{Password: func(context.Context) (string, error) { return "", ErrSkip }})
	p.wantRefused("password: not available")
	p = script(ClientConfig{Answer: func(context.Context, string, string, []wire.Prompt) ([]string, error) { return nil, boom }})
	p.wantRequest("then", wire.MethodKeyboardInteractive)
	p.send(&wire.UserauthInfoRequest{Prompts: []wire.Prompt{{Text: "?"}}})
	p.wait()
	if !errors.Is(p.err, boom) {
		t.Errorf("error of Answer: %v", p.err)
	}
	p = script(ClientConfig{Answer: func(context.Context, string, string, []wire.Prompt) ([]string, error) { return []string{"a", "b"}, nil }})
	p.wantRequest("then", wire.MethodKeyboardInteractive)
	p.send(&wire.UserauthInfoRequest{Prompts: []wire.Prompt{{Text: "?"}}})
	p.wait()
	if p.err == nil || !strings.Contains(p.err.Error(), "2 answers to 1 questions") {
		t.Errorf("wrong number of answers: %v", p.err)
	}
}

func TestClientBanners(t *testing.T) {
	var got []string
	p := clientUnderTest(t, ClientConfig{Banner: func(s string) { got = append(got, s) }})
	p.want("first", &wire.ServiceRequest{Service: wire.ServiceUserauth})
	p.wantRequest("then", wire.MethodNone)
	p.send(&wire.UserauthBanner{Message: "early"}, &wire.ServiceAccept{Service: wire.ServiceUserauth},
		&wire.UserauthBanner{Message: "hello\x1b[2J"}, &wire.UserauthSuccess{})
	p.wantLogin(wire.MethodNone)
	if fmt.Sprintf("%q", got) != `["early" "hello\x1b[2J"]` {
		t.Errorf("banners %q", got)
	}
}

func TestClientFloods(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	for range maxBanners + 1 {
		p.send(&wire.UserauthBanner{})
	}
	p.wantDisconnect("number of banners", wire.DisconnectProtocolError, "banners")

	p = clientUnderTest(t, ClientConfig{})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	for range 5 {
		p.send(&wire.UserauthBanner{Message: strings.Repeat("x", maxBannerBytes/4)})
	}
	p.wantDisconnect("size of banners", wire.DisconnectProtocolError, "banners")

	p = clientUnderTest(t, ClientConfig{})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	for range maxUnrelated {
		p.raw([]byte{9})
		p.want("unknown number", &wire.Unimplemented{})
	}
	p.raw([]byte{9})
	p.wantDisconnect("unknown messages", wire.DisconnectProtocolError, "unknown messages")

	p = clientUnderTest(t, ClientConfig{Password: func(context.Context) (string, error) { return "x", nil }, Tries: 1 << 30})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("password")
	for range maxRequests - 1 {
		p.wantRequest("again", wire.MethodPassword)
		p.partial("password")
	}
	p.wait()
	if p.err == nil || !strings.Contains(p.err.Error(), "gave up") {
		t.Errorf("endless partial success: %v", p.err)
	}
}

// What a server may not send, and when.
func TestClientBreaches(t *testing.T) {
	key := newEd25519(t)
	pkok := (&wire.UserauthPKOK{Algorithm: "ssh-ed25519", Key: key.PublicKey().Marshal()}).Append(nil)
	for _, tt := range []struct {
		name    string
		early   bool // before SERVICE_ACCEPT
		probing bool // a probe waits for its answer, not "none"
		send    []byte
		want    string
	}{
		{"SUCCESS early", true, false, (&wire.UserauthSuccess{}).Append(nil), "before SERVICE_ACCEPT"},
		{"FAILURE early", true, false, (&wire.UserauthFailure{}).Append(nil), "before SERVICE_ACCEPT"},
		{"PK_OK early", true, true, pkok, "before SERVICE_ACCEPT"},
		{"wrong service", true, false, (&wire.ServiceAccept{Service: "ssh-connection"}).Append(nil), `"ssh-connection"`},
		{"SERVICE_ACCEPT cut short", true, false, []byte{6, 0, 0, 0, 9, 's'}, "cut short"},
		{"SERVICE_ACCEPT twice", false, false, (&wire.ServiceAccept{Service: wire.ServiceUserauth}).Append(nil), "SERVICE_ACCEPT during"},
		{"SERVICE_REQUEST", false, false, (&wire.ServiceRequest{Service: wire.ServiceUserauth}).Append(nil), "SERVICE_REQUEST during"},
		{"a request", false, false, (&wire.UserauthRequest{}).Append(nil), "USERAUTH_REQUEST during"},
		{"answers", false, false, (&wire.UserauthInfoResponse{}).Append(nil), "USERAUTH_INFO_RESPONSE during"},
		{"PK_OK unasked", false, false, pkok, "message 60"},
		{"global request", false, false, (&wire.GlobalRequest{Type: "hostkeys-00@openssh.com"}).Append(nil), "GLOBAL_REQUEST during"},
		{"channel open", false, false, (&wire.ChannelOpen{Type: "session"}).Append(nil), "CHANNEL_OPEN during"},
		{"FAILURE cut short", false, false, []byte{51, 0, 0, 0, 9}, "USERAUTH_FAILURE"},
		{"FAILURE too long", false, false, append((&wire.UserauthFailure{}).Append(nil), 0), "USERAUTH_FAILURE"},
		{"SUCCESS too long", false, false, []byte{52, 0}, "USERAUTH_SUCCESS"},
		{"banner cut short", false, false, []byte{53, 0, 0}, "USERAUTH_BANNER"},
		{"PK_OK for another key", false, true, (&wire.UserauthPKOK{Algorithm: "ssh-ed25519", Key: newEd25519(t).PublicKey().Marshal()}).Append(nil), "not offered"},
		{"PK_OK cut short", false, true, pkok[:len(pkok)-1], "USERAUTH_PK_OK"},
		{"PASSWD_CHANGEREQ to a probe", false, true, (&wire.UserauthPasswdChange{Prompt: "p"}).Append(nil), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ClientConfig{}
			if tt.probing {
				cfg.Keys = keysOf(key)
			}
			p := clientUnderTest(t, cfg)
			p.want("first", &wire.ServiceRequest{Service: wire.ServiceUserauth})
			if tt.probing {
				p.wantKey("probe", key.PublicKey(), "ssh-ed25519", false, false)
			} else {
				p.wantRequest("none", wire.MethodNone)
			}
			if !tt.early {
				p.send(&wire.ServiceAccept{Service: wire.ServiceUserauth})
			}
			p.raw(tt.send)
			p.wantDisconnect(tt.name, wire.DisconnectProtocolError, tt.want)
		})
	}
}

func TestClientAbsurdPromptCount(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{Answer: func(context.Context, string, string, []wire.Prompt) ([]string, error) { return nil, nil }})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.fail("keyboard-interactive")
	p.wantRequest("then", wire.MethodKeyboardInteractive)
	b := wire.AppendString(wire.AppendString(wire.AppendString([]byte{wire.NumUserauthInfoRequest}, ""), ""), "")
	p.raw(wire.AppendUint32(b, 1<<31))
	p.wantDisconnect("2^31 questions", wire.DisconnectProtocolError, "USERAUTH_INFO_REQUEST")
}

// A server that lets anybody in may say so in answer to a probe.
func TestClientSuccessToAProbe(t *testing.T) {
	key := newEd25519(t)
	p := clientUnderTest(t, ClientConfig{Keys: keysOf(key)})
	p.accept()
	p.wantKey("probe", key.PublicKey(), "ssh-ed25519", false, false)
	p.send(&wire.UserauthSuccess{})
	p.wantLogin(wire.MethodNone)
}

func TestClientEnds(t *testing.T) {
	p := clientUnderTest(t, ClientConfig{})
	p.accept()
	p.wantRequest("first", wire.MethodNone)
	p.conn.out.close(io.ErrUnexpectedEOF)
	p.wait()
	if _, ok := errors.AsType[*AuthError](p.err); ok || !errors.Is(p.err, io.ErrUnexpectedEOF) {
		t.Errorf("the connection's end before any answer: %v", p.err)
	}

	p = clientUnderTest(t, ClientConfig{Keys: keysOf(newEd25519(t))}, serverSigs, modernSigs)
	p.accept()
	p.wantRequest("key", wire.MethodPublickey)
	p.fail("publickey")
	p.wantRequest("none", wire.MethodNone)
	p.conn.out.close(io.ErrUnexpectedEOF)
	e := p.wantRefused("then unexpected EOF")
	if !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Errorf("cause is lost: %v", e)
	}
}

func TestClientContext(t *testing.T) {
	c, s := memPipe()
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := Client(ctx, c, ClientConfig{User: "alice"})
		done <- err
	}()
	for range 2 {
		if _, err := s.ReadPacket(); err != nil {
			t.Fatal(err)
		}
	}
	why := errors.New("enough")
	cancel(why)
	select {
	case err := <-done:
		if !errors.Is(err, why) {
			t.Errorf("error %v, want the context's cause", err)
		}
	case <-time.After(testLimit):
		t.Fatal("Client does not return")
	}
	b, err := s.ReadPacket()
	if err != nil || b[0] != wire.NumDisconnect {
		t.Errorf("the server hears %q, %v", b, err)
	}
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

func TestAuthErrorText(t *testing.T) {
	e := &AuthError{User: "a\nb", Tried: []string{"x", "x", "y"}, Remaining: []string{"p", "q"}, Notes: []string{"n1", "n2"}}
	if got, want := e.Error(), `permission denied for user "a\nb": tried x (2 times), y; the server takes p,q (n1; n2)`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := oneLine("a\x1b[2J"); strings.Contains(got, "\x1b") {
		t.Errorf("escape sequence in %q", got)
	}
}
