package alias_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/alias"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/knownhosts"
)

// newHome makes a home folder with a configuration for the server.
func newHome(t *testing.T, s *testpeer.Server, more string) (home string) {
	t.Helper()
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Setenv("SSH_AUTH_SOCK", "")
	text := fmt.Sprintf("Host db-bastion\n\tHostName %s\n\tPort %d\n\tUser %s\n\tGlobalKnownHostsFile none\n%s", s.Host(), s.Port(), s.User, more)
	for name, content := range map[string]string{"config": text, "id_ed25519": read(t, s.Key.Path)} {
		path := filepath.Join(home, ".ssh", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// trust puts the server's key into known_hosts.
func trust(t *testing.T, home string, s *testpeer.Server) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(home, ".ssh", "known_hosts"), []byte(read(t, s.KnownHosts(t))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// One call takes the person's files, and goes where the configuration says.
func TestDial(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	trust(t, newHome(t, s, ""), s)
	c, err := alias.Dial(t.Context(), "db-bastion", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := c.DialContext(t.Context(), "tcp", testpeer.GreetingTarget(t, "hello from inside").Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 100)
	if n, _ := conn.Read(b); !strings.HasPrefix("hello from inside", string(b[:n])) || n == 0 {
		t.Errorf("got %q from inside", b[:n])
	}
	if _, err := alias.Dial(t.Context(), "nobody@db-bastion", &alias.Options{Set: []string{"IdentityFile=none", "IdentityAgent=none"}}); err == nil {
		t.Error("another user without a key is let in")
	} else if e, ok := errors.AsType[*adit.AuthError](err); !ok || e.User != "nobody" {
		t.Errorf("another user without a key: got %v, want an AuthError for nobody", err)
	}
}

// Without hooks an unknown host is an error, and nothing is written down; with
// one, a person decides.
func TestUnknownHost(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	home := newHome(t, s, "")
	known := filepath.Join(home, ".ssh", "known_hosts")
	_, err := alias.Dial(t.Context(), "db-bastion", nil)
	if e, ok := errors.AsType[*knownhosts.UnknownError](err); !ok {
		t.Errorf("got %v, %v, want an UnknownError", err, e)
	}
	if _, err := os.Stat(known); err == nil {
		t.Error("the unknown key was written down")
	}
	for _, answer := range []string{"no", "yes"} {
		var questions []string
		c, err := alias.Dial(t.Context(), "db-bastion", &alias.Options{Ask: func(_ context.Context, q string, echo bool) (string, error) {
			questions = append(questions, q)
			return answer, nil
		}})
		if err == nil {
			c.Close()
		}
		if _, ok := errors.AsType[*knownhosts.UnknownError](err); ok != (answer == "no") || len(questions) != 1 {
			t.Errorf("%s: got %v after the questions %q", answer, err, questions)
		}
	}
	if !strings.Contains(read(t, known), strings.Fields(read(t, s.KnownHosts(t)))[2]) {
		t.Error("the key that was confirmed is not in known_hosts")
	}
}

// What would have to be asked is named.
func TestNobodyToAsk(t *testing.T) {
	testpeer.Need(t, "sshd", "ssh-keygen")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	home := newHome(t, s, "")
	trust(t, home, s)
	id := filepath.Join(home, ".ssh", "id_ed25519")
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-a", "1", "-N", "open sesame", "-f", id).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	_, err := alias.Dial(t.Context(), "db-bastion", nil)
	if want := id + " does not sign: it needs a passphrase, and there is nobody to ask"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to say: %s", err, want)
	}
	ask := func(answer string, err error) *alias.Options {
		return &alias.Options{Ask: func(_ context.Context, q string, echo bool) (string, error) {
			if want := "Enter passphrase for key '" + id + "': "; q != want || echo {
				t.Errorf("asks %q, echo %v, want %q without", q, echo, want)
			}
			return answer, err
		}}
	}
	c, err := alias.Dial(t.Context(), "db-bastion", ask("open sesame", nil))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err = alias.Dial(t.Context(), "db-bastion", ask("", adit.ErrSkip)); err == nil {
		t.Error("a cancelled question lets in")
	}
}

// What is no name of a host, and what the files don't allow, is said at once.
func TestBadAlias(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, tt := range []struct{ alias, set, want string }{
		{"", "User=x", "it is not [user@]host"},
		{"-oProxyCommand=x", "User=x", "it is not [user@]host"},
		{"ssh://", "User=x", "it is not [user@]host"},
		{"db", "Nonsense=yes", "nonsense"},
		{"db", "Tunnel=yes", "Tunnel"},
	} {
		if _, err := alias.Dial(t.Context(), tt.alias, &alias.Options{File: "none", Set: []string{tt.set}}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q with %s: got %v, want %q", tt.alias, tt.set, err, tt.want)
		}
	}
}

// Through another host, and through a program: each with what the files say of it.
func TestDialByOtherWays(t *testing.T) {
	testpeer.Need(t, "sshd", "nc")
	s, gate := testpeer.SSHD(t, testpeer.SSHDOptions{}), testpeer.SSHD(t, testpeer.SSHDOptions{})
	home := newHome(t, s, fmt.Sprintf("Host gate\n\tHostName %s\n\tPort %d\n\tUser %s\n\tIdentityFile %s\n\tUserKnownHostsFile %s\n",
		gate.Host(), gate.Port(), gate.User, gate.Key.Path, gate.KnownHosts(t)))
	trust(t, home, s)
	for _, way := range []string{"ProxyJump=gate", "ProxyCommand=nc %h %p"} {
		before := strings.Count(gate.Log(), "Accepted publickey")
		c, err := alias.Dial(t.Context(), "db-bastion", &alias.Options{Set: []string{way}})
		if err != nil {
			t.Errorf("%s: %v", way, err)
			continue
		}
		if ok, _, err := c.SSH().SendRequest("keepalive@openssh.com", true, nil); err != nil || ok {
			t.Errorf("%s: a request is answered with %v, %v", way, ok, err)
		}
		c.Close()
		if through := strings.Count(gate.Log(), "Accepted publickey") > before; through != (way == "ProxyJump=gate") {
			t.Errorf("%s: through the other host: %v", way, through)
		}
	}
	_, err := alias.Dial(t.Context(), "db-bastion", &alias.Options{Set: []string{"ProxyCommand=echo >&2 gone; exit 3"}})
	if err == nil || !strings.Contains(err.Error(), "echo") {
		t.Errorf("a program that fails: got %v, want its name", err)
	}
	if _, err := alias.Dial(t.Context(), "db-bastion", &alias.Options{Set: []string{"ProxyCommand=-"}}); err == nil || !strings.Contains(err.Error(), "no way to a server") {
		t.Errorf("ProxyCommand -: got %v, want a refusal", err)
	}
}

// A host whose key has changed is an error, unless checking is off: then the
// connection says that nobody knows who is there.
func TestChangedKey(t *testing.T) {
	testpeer.Need(t, "sshd")
	s, other := testpeer.SSHD(t, testpeer.SSHDOptions{}), testpeer.NewKey(t, "ed25519")
	home := newHome(t, s, "")
	line := fmt.Sprintf("[%s]:%d %s\n", s.Host(), s.Port(), other.Line())
	if err := os.WriteFile(filepath.Join(home, ".ssh", "known_hosts"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := alias.Dial(t.Context(), "db-bastion", nil)
	if _, ok := errors.AsType[*knownhosts.MismatchError](err); !ok {
		t.Errorf("got %v, want a MismatchError", err)
	}
	c, err := alias.Dial(t.Context(), "db-bastion", &alias.Options{Set: []string{"StrictHostKeyChecking=no"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !c.Unverified() {
		t.Error("Unverified is false for a server whose key has changed")
	}
}

// The end of ctx ends a question about a host key.
func TestQuestionEndsWithContext(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	newHome(t, s, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone home")
	_, err := alias.Dial(ctx, "db-bastion", &alias.Options{Ask: func(ctx context.Context, q string, echo bool) (string, error) {
		cancel(gone)
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(10 * time.Second):
			t.Error("the question's context does not end with Dial's")
			return "yes", nil
		}
	}})
	if !errors.Is(err, gone) {
		t.Errorf("got %v, want %v", err, gone)
	}
}
