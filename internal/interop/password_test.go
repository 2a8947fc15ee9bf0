package interop

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/userauth"
)

func startPAM(t testing.TB) *testpeer.Server {
	return testpeer.SSHD(t, testpeer.SSHDOptions{Passwords: true})
}

var passwordServers = []struct {
	name   string
	start  func(testing.TB) *testpeer.Server
	kbdint bool
}{
	{"sshd", startPAM, true},
	{"dropbear", testpeer.Dropbear, false},
	{"asyncssh", testpeer.AsyncSSH, true},
	{"otp", testpeer.OTP, true},
	{"xcrypto", testpeer.XCrypto, false},
}

// inTurn returns a function that gives the texts one after the other.
func inTurn(texts ...string) func() (string, error) {
	return func() (string, error) {
		if len(texts) == 0 {
			return "", errors.New("asked once more than expected")
		}
		first := texts[0]
		texts = texts[1:]
		return first, nil
	}
}

// asked answers keyboard-interactive and keeps the questions.
type asked struct {
	next      func() (string, error)
	questions []string
}

func (a *asked) answer(_ context.Context, _, _ string, prompts []adit.Prompt) ([]string, error) {
	var answers []string
	for _, p := range prompts {
		text, err := a.next()
		if err != nil {
			return nil, err
		}
		if p.Echo {
			return nil, errors.New("a password is asked for with echo")
		}
		a.questions = append(a.questions, p.Text)
		answers = append(answers, text)
	}
	return answers, nil
}

// A wrong password is refused and another asked for.
func TestPassword(t *testing.T) {
	for _, p := range passwordServers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s, r := p.start(t), newRecorder()
			next := inTurn("wrong", s.Password)
			_, err := dialPeer(withLimit(t), t, s, r, adit.Config{Password: func(context.Context) (string, error) { return next() }})
			if want := "none failure, password failure, password success"; err != nil || r.login() != want {
				t.Errorf("got %v, %s\nwant %s", err, r.login(), want)
			}
		})
	}
}

func TestKeyboardInteractive(t *testing.T) {
	for _, p := range passwordServers {
		if !p.kbdint {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s, r := p.start(t), newRecorder()
			a := &asked{next: inTurn("wrong", s.Password)}
			_, err := dialPeer(withLimit(t), t, s, r, adit.Config{Answer: a.answer})
			const want = "none failure, keyboard-interactive failure, keyboard-interactive success"
			if err != nil || r.login() != want {
				t.Errorf("got %v, %s\nwant %s", err, r.login(), want)
			}
			if len(a.questions) != 2 || !strings.HasPrefix(strings.ToLower(a.questions[0]), "password") {
				t.Errorf("asked %q, want the password twice", a.questions)
			}
		})
	}
}

// sshd wants a key and then what PAM asks for.
func TestKeyThenKeyboardInteractive(t *testing.T) {
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Passwords: true, Config: []string{"AuthenticationMethods publickey,keyboard-interactive"}})
	ctx, r := withLimit(t), newRecorder()
	a := &asked{next: inTurn(s.Password)}
	_, err := dialPeer(ctx, t, s, r, adit.Config{Keys: adit.Keys(s.Key.Signer), Answer: a.answer})
	if want := bound + " partial, keyboard-interactive success"; err != nil || r.login() != want {
		t.Errorf("got %v, %s\nwant %s", err, r.login(), want)
	}

	_, err = dialPeer(ctx, t, s, newRecorder(), adit.Config{Answer: a.answer})
	if e, ok := errors.AsType[*adit.AuthError](err); !ok || !slices.Equal(e.Remaining, []string{"publickey"}) {
		t.Errorf("without the key: got %v, want an AuthError with publickey remaining", err)
	}
	a.next = inTurn("wrong", "wrong", "wrong")
	_, err = dialPeer(ctx, t, s, newRecorder(), adit.Config{Keys: adit.Keys(s.Key.Signer), Answer: a.answer})
	if e, ok := errors.AsType[*adit.AuthError](err); !ok || !slices.Contains(e.Remaining, "keyboard-interactive") {
		t.Errorf("with wrong passwords: got %v, want an AuthError with keyboard-interactive remaining", err)
	}
}

// PAM has an expired password changed within keyboard-interactive.
func TestExpiredPasswordByPAM(t *testing.T) {
	s := testpeer.SSHD(t, testpeer.SSHDOptions{ExpiredPasswords: true})
	ctx, r := withLimit(t), newRecorder()
	const fresh = "fresh"
	a := &asked{next: inTurn(s.Password, s.Password, fresh, fresh)}
	_, err := dialPeer(ctx, t, s, r, adit.Config{Answer: a.answer})
	if err != nil || r.login() != "none failure, keyboard-interactive success" {
		t.Errorf("got %v, %s; asked %q", err, r.login(), a.questions)
	}
	if len(a.questions) != 4 || !strings.HasPrefix(a.questions[2], "New Password") {
		t.Errorf("asked %q, want the password, the old one, and the new one twice", a.questions)
	}
	for password, want := range map[string]string{s.Password: "password failure", fresh: "password success"} {
		r := newRecorder()
		next := inTurn(password)
		dialPeer(ctx, t, s, r, adit.Config{Password: func(context.Context) (string, error) { return next() }})
		if got := r.login(); got != "none failure, "+want {
			t.Errorf("after the change, with %q: got %s, want %s", password, got, want)
		}
	}
}

// asyncssh asks for another password as RFC 4252, section 8, has it.
func TestExpiredPassword(t *testing.T) {
	s := testpeer.AsyncSSH(t)
	ctx, r := withLimit(t), newRecorder()
	nc, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := transport.Client(ctx, nc, &transport.Config{CheckHostKey: func(_ string, key gossh.PublicKey) error {
		return adit.FixedHostKey(s.HostKeys[0])(s.Addr, "", key)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	prompt := ""
	res, err := userauth.Client(ctx, c, userauth.ClientConfig{User: "expired", Tracer: r,
		Password: func(context.Context) (string, error) { return s.Password, nil },
		NewPassword: func(_ context.Context, p string) (old, fresh string, err error) {
			prompt = p
			return s.Password, "fresh", nil
		},
	})
	if want := "none failure, password failure, password success"; err != nil || res.Method != "password" || r.login() != want {
		t.Errorf("got %+v, %v, %s\nwant %s", res, err, r.login(), want)
	}
	if prompt != "Choose a new password." {
		t.Errorf("prompt: got %q, want the server's", prompt)
	}
}
