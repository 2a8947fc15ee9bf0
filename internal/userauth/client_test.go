package userauth

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

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

func TestAuthErrorText(t *testing.T) {
	e := &AuthError{User: "a\nb", Tried: []string{"x", "x", "y"}, Remaining: []string{"p", "q"}, Notes: []string{"n1", "n2"}}
	if got, want := e.Error(), `permission denied for user "a\nb": tried x (2 times), y; the server takes p,q (n1; n2)`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := oneLine("a\x1b[2J"); strings.Contains(got, "\x1b") {
		t.Errorf("escape sequence in %q", got)
	}
}
