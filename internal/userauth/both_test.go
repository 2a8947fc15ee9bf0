package userauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// both runs the halves against each other.
func both(t testing.TB, cc ClientConfig, sc ServerConfig, ext bool) (res *Result, login *Login, cerr, serr error) {
	t.Helper()
	c, s := memPipe()
	if ext {
		for _, e := range ServerExtensions() {
			c.extensions(e.Name, string(e.Value))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		login, serr = Server(ctx, s, sc)
		if serr != nil {
			s.out.close(io.EOF)
		}
	}()
	cc.User = "alice"
	res, cerr = Client(ctx, c, cc)
	if cerr != nil {
		c.out.close(io.EOF)
	}
	<-done
	return res, login, cerr, serr
}

func TestBothHalves(t *testing.T) {
	ed, ec, r := newEd25519(t), newECDSA(t), newRSA(t)
	cert := newCert(t, r)
	keys := func(s ...gossh.Signer) ClientConfig { return ClientConfig{Keys: keysOf(s...)} }
	password := func(context.Context) (string, error) { return "secret", nil }
	answer := func(_ context.Context, _, _ string, prompts []wire.Prompt) ([]string, error) {
		return []string{"42", "43"}[:len(prompts)], nil
	}
	takes := func(k ...gossh.Signer) ServerConfig {
		var pub []gossh.PublicKey
		for _, s := range k {
			pub = append(pub, s.PublicKey())
		}
		return ServerConfig{PublicKey: acceptKeys(pub...)}
	}
	takesPassword := ServerConfig{Password: func(_ context.Context, user string, pw []byte) Verdict {
		if user == "alice" && string(pw) == "secret" {
			return Accept
		}
		return Refuse
	}}
	takesAnswers := ServerConfig{Answers: func(_ context.Context, _ string, ask func(string, string, []wire.Prompt) ([][]byte, error)) (Verdict, error) {
		a, err := ask("", "", []wire.Prompt{{Text: "a"}, {Text: "b"}})
		if err != nil || string(a[0]) != "42" || string(a[1]) != "43" {
			return Refuse, nil
		}
		return Accept, nil
	}}
	three := ServerConfig{
		PublicKey: func(ctx context.Context, u string, k gossh.PublicKey, proved bool) Verdict {
			return 2 * acceptKeys(ed.PublicKey())(ctx, u, k, proved)
		},
		Password: func(ctx context.Context, u string, pw []byte) Verdict { return 2 * takesPassword.Password(ctx, u, pw) },
		Answers:  takesAnswers.Answers,
		Next: func(_ string, done []string) []string {
			return [][]string{{"publickey"}, {"password"}, {"keyboard-interactive"}}[len(done)]
		},
	}
	for _, tt := range []struct {
		name   string
		client ClientConfig
		server ServerConfig
		want   string // of Result.Steps and Method
	}{
		{"ed25519", keys(ed), takes(ed), "[] publickey"},
		{"ecdsa", keys(ec), takes(ec), "[] publickey"},
		{"rsa", keys(r), takes(r), "[] publickey"},
		{"certificate", keys(cert), takes(cert), "[] publickey"},
		{"the last of many", keys(newEd25519(t), newEd25519(t), newEd25519(t), ec, ed), takes(ed), "[] publickey"},
		{"pipelined", ClientConfig{Keys: keysOf(ed), Pipeline: true}, takes(ed), "[] publickey"},
		{"password", ClientConfig{Password: password}, takesPassword, "[] password"},
		{"keyboard-interactive", ClientConfig{Answer: answer}, takesAnswers, "[] keyboard-interactive"},
		{"three steps", ClientConfig{Keys: keysOf(ec, ed), Password: password, Answer: answer}, three, "[publickey password] keyboard-interactive"},
	} {
		for _, ext := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/ext=%v", tt.name, ext), func(t *testing.T) {
				tt.server.Banner = "welcome"
				res, login, cerr, serr := both(t, tt.client, tt.server, ext)
				if cerr != nil || serr != nil {
					t.Fatalf("client: %v; server: %v", cerr, serr)
				}
				if got := fmt.Sprint(res.Steps, " ", res.Method); got != tt.want {
					t.Errorf("client: %s, want %s", got, tt.want)
				}
				if login.User != "alice" || fmt.Sprint(login.Steps) != fmt.Sprint(res.Steps) {
					t.Errorf("server: %+v", login)
				}
				if res.Hostbound != login.Hostbound || res.Method == wire.MethodPublickey && res.Hostbound != ext {
					t.Errorf("host-bound: client %v, server %v, offered %v", res.Hostbound, login.Hostbound, ext)
				}
			})
		}
	}
}

func TestBothHalvesDisagree(t *testing.T) {
	wrong := func(context.Context) (string, error) { return "wrong-secret", nil }
	cfg := ServerConfig{Password: func(context.Context, string, []byte) Verdict { return Refuse }, MaxTries: 2}
	_, login, cerr, serr := both(t, ClientConfig{Password: wrong, Tries: 5}, cfg, true)
	e, ok := errors.AsType[*AuthError](cerr)
	if !ok || e.Err == nil || login != nil {
		t.Fatalf("client: %v; server: %+v", cerr, login)
	}
	if a, ok := errors.AsType[*abortError](serr); !ok || a.reason != wire.DisconnectNoMoreAuthMethodsAvailable {
		t.Errorf("server: %v", serr)
	}
	if s := cerr.Error() + serr.Error(); strings.Contains(s, "secret") {
		t.Errorf("password in an error: %s", s)
	}
	_, _, cerr, _ = both(t, ClientConfig{Password: wrong, Tries: 1}, cfg, true)
	if e, ok := errors.AsType[*AuthError](cerr); !ok || e.Err != nil || fmt.Sprint(e.Remaining) != "[password]" {
		t.Errorf("client that has nothing left: %v", cerr)
	}
}

// feed sends packets, each with its length in one byte before it, and the end.
func feed(c *memConn, data []byte) (numbers []byte) {
	for len(data) > 1 {
		n := min(int(data[0]), len(data)-1)
		if p := data[1 : 1+n]; n > 0 {
			c.out.put(append([]byte(nil), p...))
			numbers = append(numbers, p[0])
		}
		data = data[1+n:]
	}
	c.out.close(io.EOF)
	return numbers
}

func feedOf(ms ...wire.Msg) []byte {
	var b []byte
	for _, m := range ms {
		p := m.Append(nil)
		b = append(append(b, byte(len(p))), p...)
	}
	return b
}

func FuzzClient(f *testing.F) {
	key := newEd25519(f)
	accept, fail := &wire.ServiceAccept{Service: wire.ServiceUserauth}, &wire.UserauthFailure{Methods: []string{"publickey", "password", "keyboard-interactive"}}
	f.Add(feedOf(accept, &wire.UserauthPKOK{Algorithm: "ssh-ed25519", Key: key.PublicKey().Marshal()}, &wire.UserauthSuccess{}))
	f.Add(feedOf(accept, fail, fail, &wire.UserauthInfoRequest{Prompts: []wire.Prompt{{Text: "p"}}}, fail, &wire.UserauthPasswdChange{Prompt: "p"}, &wire.UserauthSuccess{}))
	f.Add(feedOf(&wire.UserauthBanner{Message: "b"}, accept, &wire.UserauthFailure{Methods: []string{"password"}, Partial: true}))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, s := memPipe()
		numbers := feed(s, data)
		ctx, cancel := context.WithTimeout(t.Context(), testLimit)
		defer cancel()
		began := time.Now()
		res, err := Client(ctx, c, ClientConfig{
			User: "alice", Keys: keysOf(key, newEd25519(t)),
			Password:    func(context.Context) (string, error) { return "secret", nil },
			NewPassword: func(context.Context, string) (string, string, error) { return "secret", "secret", nil },
			Answer: func(_ context.Context, _, _ string, prompts []wire.Prompt) ([]string, error) {
				return make([]string, len(prompts)), nil
			},
		})
		if time.Since(began) >= testLimit {
			t.Fatal("hangs")
		}
		switch {
		case (res == nil) == (err == nil):
			t.Fatalf("result %+v, error %v", res, err)
		case res != nil && !(strings.Contains(string(numbers), "\x06") && strings.Contains(string(numbers), "\x34")):
			t.Fatalf("in without SERVICE_ACCEPT and SUCCESS: %v", numbers)
		case err != nil && strings.Contains(err.Error(), "secret") && !strings.Contains(string(data), "secret"):
			t.Fatalf("secret in %v", err)
		}
	})
}

func FuzzServer(f *testing.F) {
	key := newEd25519(f)
	blob := key.PublicKey().Marshal()
	service := &wire.ServiceRequest{Service: wire.ServiceUserauth}
	probe := request(wire.MethodPublickey, &wire.PublickeyBody{Algorithm: "ssh-ed25519", Key: blob})
	stolen := keyRequest{signer: key, algorithm: "ssh-ed25519", sessionID: make([]byte, 32)}.build(f)
	f.Add(feedOf(service, probe, stolen))
	f.Add(feedOf(service, request(wire.MethodNone, nil), request(wire.MethodPassword, &wire.PasswordBody{Password: []byte("x")})))
	f.Add(feedOf(service, request(wire.MethodKeyboardInteractive, &wire.KbdintBody{}), &wire.UserauthInfoResponse{Answers: []string{"x"}}, probe))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, s := memPipe()
		feed(c, data)
		ctx, cancel := context.WithTimeout(t.Context(), testLimit)
		defer cancel()
		began := time.Now()
		login, err := Server(ctx, s, ServerConfig{
			PublicKey: func(context.Context, string, gossh.PublicKey, bool) Verdict { return Accept },
			Password:  func(context.Context, string, []byte) Verdict { return Refuse },
			Answers: func(_ context.Context, _ string, ask func(string, string, []wire.Prompt) ([][]byte, error)) (Verdict, error) {
				_, _ = ask("", "", []wire.Prompt{{Text: "?"}})
				return Refuse, nil
			},
		})
		if time.Since(began) >= testLimit {
			t.Fatal("hangs")
		}
		if login != nil || err == nil {
			t.Fatalf("in without a signature over this session: %+v", login)
		}
	})
}
