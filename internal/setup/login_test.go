package setup

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// What ssh_config says about logging in reaches the connection.
func TestLoginOptions(t *testing.T) {
	o, _, err := options(t, `
PreferredAuthentications password,publickey
NumberOfPasswordPrompts 1
PubkeyAcceptedAlgorithms rsa-sha2-256,ssh-ed25519
RequiredRSASize 4096
GlobalKnownHostsFile none
UserKnownHostsFile none
`)
	if err != nil {
		t.Fatal(err)
	}
	o.Prompter = &typist{}
	cfg, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"password", "publickey"}; !slices.Equal(cfg.Methods, want) || cfg.Answer != nil {
		t.Errorf("methods %v, keyboard-interactive %v; want %v alone", cfg.Methods, cfg.Answer != nil, want)
	}
	if cfg.Tries != 1 || !slices.Equal(cfg.KeyAlgorithms, []string{"rsa-sha2-256", "ssh-ed25519"}) {
		t.Errorf("tries %d, signatures %v; want 1 and what was listed", cfg.Tries, cfg.KeyAlgorithms)
	}
}

// No prompts are none, as for ssh, and not the usual three; unbound signatures are
// so, whatever the server offers.
func TestNoPromptsUnbound(t *testing.T) {
	path, _ := writeLocked(t, "open sesame")
	o, _, err := options(t, fmt.Sprintf("NumberOfPasswordPrompts 0\nPubkeyAuthentication unbound\nIdentityFile %s\nIdentityAgent none\nUserKnownHostsFile none\nGlobalKnownHostsFile none\n", path))
	if err != nil {
		t.Fatal(err)
	}
	who := &typist{answers: []string{"open sesame"}}
	o.Prompter = who
	cfg, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Tries >= 0 || !cfg.Unbound {
		t.Errorf("tries %d, unbound %v; want less than none, and true", cfg.Tries, cfg.Unbound)
	}
	keys, err := cfg.Keys(t.Context())
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if _, err := keys[1].Sign(nil, []byte("data")); err == nil || !strings.Contains(err.Error(), "NumberOfPasswordPrompts is 0") || who.asked > 0 {
		t.Errorf("a key with a passphrase: %v after %d questions, want a refusal without", err, who.asked)
	}
}

// Without HOME the user database says where home is; the current folder, which may
// be anybody's, never is it.
func TestHomeUnset(t *testing.T) {
	u, err := user.Current()
	if err != nil || runtime.GOOS == "windows" {
		t.Skip(err)
	}
	t.Setenv("HOME", "")
	if got := Expand("~/.ssh/config"); got != filepath.Join(u.HomeDir, ".ssh/config") {
		t.Errorf("got %s, want it below %s", got, u.HomeDir)
	}
}

// What a server or an agent says can't reach the terminal as more than letters.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"two\nlines\tand more":              "two\nlines\tand more",
		"\x1b[2J\x07\r\x00\x7fx":            "[2Jx",
		"\u009b31m\u0085":                   "31m",
		"\x9b31m":                           "\ufffd31m",
		"\u202egnp.exe\u202c \u2066x\u2069": "gnp.exe x",
		"\u200e\u200f\u061cזהו":             "זהו",
		strings.Repeat("\u202e", 1000):      "",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestRequiredRSASize(t *testing.T) {
	small, edwards := testpeer.NewKey(t, "rsa"), testpeer.NewKey(t, "ed25519")
	o, notices, err := options(t, fmt.Sprintf("RequiredRSASize 4097\nIdentityFile %s\nIdentityFile %s\nIdentityAgent none\nUserKnownHostsFile none\nGlobalKnownHostsFile none\n", small.Path, edwards.Path))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := cfg.Keys(t.Context())
	if err != nil || len(keys) != 1 || keys[0].PublicKey().Type() != "ssh-ed25519" {
		t.Errorf("%d keys, %v; want the Ed25519 key alone", len(keys), err)
	}
	if told := strings.Join(*notices, "\n"); !strings.Contains(told, "RequiredRSASize is 4097") || !strings.Contains(told, small.Path) {
		t.Errorf("told %q, want the key that is left out, and why", told)
	}
	o.StrictHostKey = "no"
	if err := cfg.CheckHostKey("db:22", "rsa-sha2-512", small.Public); err == nil || !strings.Contains(err.Error(), "RequiredRSASize") {
		t.Errorf("a small host key: got %v, want a refusal by RequiredRSASize", err)
	}
}

// Known keys go first, their certificates before them, unless the order was given by a list (OpenSSH,
// sshconnect2.c, ssh_kex2).
func TestHostKeyOrder(t *testing.T) {
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte("db "+testpeer.NewKey(t, "ecdsa").Line()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for list, first := range map[string]string{
		"":                                "ecdsa-sha2-nistp256-cert-v01@openssh.com",
		"ssh-ed25519,ecdsa-sha2-nistp256": "ssh-ed25519",
		"^rsa-sha2-512":                   "rsa-sha2-512",
		"-ssh-ed25519":                    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
		"+ssh-ed25519":                    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
	} {
		text := "UserKnownHostsFile " + known + "\nGlobalKnownHostsFile none\nHostName db\n"
		if list != "" {
			text += "HostKeyAlgorithms " + list + "\n"
		}
		o, _, err := options(t, text)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := o.Config()
		if err != nil || len(cfg.HostKeyAlgorithms) == 0 || cfg.HostKeyAlgorithms[0] != first {
			t.Errorf("HostKeyAlgorithms %q: %v, %v; want %s first", list, cfg.HostKeyAlgorithms, err, first)
		}
	}
}

func TestNewPassword(t *testing.T) {
	p := &typist{answers: []string{"old", "new", "nwe", "better", "better"}}
	var told []string
	o := &Options{Host: "h", User: "ann", Prompter: p, Notice: func(text string) { told = append(told, text) }}
	old, new, err := o.newPassword(t.Context(), "expired\x1b[2J")
	if old != "old" || new != "better" || err != nil {
		t.Errorf("got %q, %q, %v; want the old one and the one that was typed twice", old, new, err)
	}
	if len(told) != 2 || told[0] != "expired[2J" || p.asked != 5 {
		t.Errorf("told %q and asked %d times, want the server's words and that two differ, and 5", told, p.asked)
	}
	if _, _, err := o.newPassword(t.Context(), ""); err == nil {
		t.Error("nobody answers, and there is no error")
	}
}

func TestRevokedHostKeys(t *testing.T) {
	bad, good := testpeer.NewKey(t, "ed25519"), testpeer.NewKey(t, "ed25519")
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte("db "+bad.Line()+"\ndb "+good.Line()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "UserKnownHostsFile " + known + "\nGlobalKnownHostsFile none\nStrictHostKeyChecking no\nRevokedHostKeys "
	o, _, err := options(t, text+bad.Path+".pub")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.CheckHostKey("db:22", "ssh-ed25519", bad.Public); err == nil || !strings.Contains(err.Error(), "is revoked by "+bad.Path) {
		t.Errorf("a revoked key that is known, without strict checking: got %v, want a refusal that names the list", err)
	}
	if err := cfg.CheckHostKey("db:22", "ssh-ed25519", good.Public); err != nil {
		t.Errorf("another key: %v", err)
	}
	// Without the list nobody can be trusted (ssh_config: RevokedHostKeys).
	if o, _, err = options(t, text+known+".missing"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Config(); err == nil || !strings.Contains(err.Error(), known+".missing") {
		t.Errorf("a list that is not there: got %v, want an error that names it", err)
	}
}
