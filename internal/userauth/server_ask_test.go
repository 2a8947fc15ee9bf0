package userauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
)

func TestServerPassword(t *testing.T) {
	var kept []byte
	p := serverUnderTest(t, ServerConfig{Password: func(_ context.Context, user string, pw []byte) Verdict {
		kept = pw
		if user == "alice" && string(pw) == "secret" {
			return Accept
		}
		return Refuse
	}})
	p.begin()
	for _, b := range []*wire.PasswordBody{{Password: []byte("wrong")}, {}, {Change: true, Password: []byte("secret"), New: []byte("n")}} {
		p.send(request(wire.MethodPassword, b))
		p.wantFailure("wrong, empty, change", "password")
	}
	p.send(request(wire.MethodPublickey, &wire.PublickeyBody{}))
	p.wantFailure("not offered", "password")
	p.send(request(wire.MethodPassword, &wire.PasswordBody{Password: []byte("secret")}))
	p.wantServed(wire.MethodPassword)
	if strings.Trim(string(kept), "\x00") != "" {
		t.Errorf("password is left in memory: %q", kept)
	}
	if s := fmt.Sprintf("%+v", p.rec.all()); strings.Contains(s, "secret") {
		t.Errorf("password in the trace: %s", s)
	}
}

func TestServerKeyboardInteractive(t *testing.T) {
	var kept []byte
	p := serverUnderTest(t, ServerConfig{Answers: func(_ context.Context, _ string, ask func(string, string, []wire.Prompt) ([][]byte, error)) (Verdict, error) {
		a, err := ask("n", "i", []wire.Prompt{{Text: "1"}, {Text: "2", Echo: true}})
		if err != nil || string(a[0]) != "x" || string(a[1]) != "y" {
			return Refuse, nil
		}
		kept = a[0]
		if _, err := ask("", "done", nil); err != nil {
			return Refuse, nil
		}
		return Accept, nil
	}})
	p.begin()
	p.send(request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}))
	p.want("questions", &wire.UserauthInfoRequest{Name: "n", Instruction: "i", Prompts: []wire.Prompt{{Text: "1"}, {Text: "2", Echo: true}}})
	p.send(&wire.UserauthInfoResponse{Answers: []string{"x", "z"}})
	p.wantFailure("wrong answer", "keyboard-interactive")
	p.send(request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}))
	p.want("again", &wire.UserauthInfoRequest{Name: "n", Instruction: "i", Prompts: []wire.Prompt{{Text: "1"}, {Text: "2", Echo: true}}})
	p.send(&wire.UserauthInfoResponse{Answers: []string{"x", "y"}})
	p.want("text without questions", &wire.UserauthInfoRequest{Instruction: "done"})
	p.send(&wire.UserauthInfoResponse{})
	p.wantServed(wire.MethodKeyboardInteractive)
	if string(kept) != "\x00" {
		t.Errorf("answer is left in memory: %q", kept)
	}
}

// yes is an Answers callback that asks once and accepts whatever happens.
func yes(_ context.Context, _ string, ask func(string, string, []wire.Prompt) ([][]byte, error)) (Verdict, error) {
	_, _ = ask("", "", []wire.Prompt{{Text: "?"}})
	_, _ = ask("", "", []wire.Prompt{{Text: "?"}})
	return Accept, nil
}

func TestServerWrongAnswersRefuseWhateverTheCallbackSays(t *testing.T) {
	for _, answers := range [][]string{nil, {"a", "b"}} {
		p := serverUnderTest(t, ServerConfig{Answers: yes})
		p.begin()
		p.send(request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}))
		p.want("question", &wire.UserauthInfoRequest{Prompts: []wire.Prompt{{Text: "?"}}})
		p.send(&wire.UserauthInfoResponse{Answers: answers})
		p.wantFailure("wrong number of answers", "keyboard-interactive")
	}
}

// RFC 4252, section 5: a request abandons the one before it.
func TestServerAbandonedQuestions(t *testing.T) {
	key := newEd25519(t)
	p := serverUnderTest(t, ServerConfig{Answers: yes, PublicKey: acceptKeys(key.PublicKey())})
	p.begin()
	p.send(request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}))
	p.want("question", &wire.UserauthInfoRequest{Prompts: []wire.Prompt{{Text: "?"}}})
	p.send(keyRequest{signer: key, algorithm: "ssh-ed25519"}.build(t))
	p.wantServed(wire.MethodPublickey)

	p = serverUnderTest(t, ServerConfig{Answers: yes, MaxTries: 3})
	p.begin()
	for range 3 {
		p.send(request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}))
		p.want("question", &wire.UserauthInfoRequest{Prompts: []wire.Prompt{{Text: "?"}}})
	}
	p.send(request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}))
	p.wantDisconnect("abandoning counts", wire.DisconnectNoMoreAuthMethodsAvailable, "too many")
}

func TestServerAnswersError(t *testing.T) {
	boom := errors.New("database is gone")
	p := serverUnderTest(t, ServerConfig{Answers: func(context.Context, string, func(string, string, []wire.Prompt) ([][]byte, error)) (Verdict, error) {
		return Accept, boom
	}})
	p.begin()
	p.send(request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}))
	p.wait()
	if !errors.Is(p.err, boom) || p.login != nil {
		t.Errorf("login %+v, %v", p.login, p.err)
	}
}
