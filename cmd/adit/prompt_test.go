//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

func TestHostKeyQuestion(t *testing.T) {
	t.Parallel()
	s := testpeer.XCrypto(t)
	fp := fingerprint(s.HostKeys[0])
	const again = `Please type 'yes', 'no' or the fingerprint: $`
	for _, tt := range []struct {
		name    string
		answers []string
		status  int
		added   bool
	}{
		{"yes", []string{"yes"}, 0, true},
		{"capitals", []string{"YES"}, 0, true},
		{"fingerprint", []string{" " + fp + " "}, 0, true},
		{"no", []string{"no"}, 255, false},
		{"no after all", []string{"y", "no"}, 255, false},
		{"nonsense, then yes", []string{"what", "why", fingerprint(s.Key.Public), "y", "yes"}, 0, true},
		{"nothing", []string{"what", ""}, 255, false},
		{"Ctrl-D", []string{ctrlD}, 255, false},
		{"Ctrl-C", []string{ctrlC}, 255, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			known := filepath.Join(t.TempDir(), "known_hosts")
			c := sit(t, t.TempDir(), cat(s, known, "-i", s.Key.Path, "-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no")...)
			c.see(`The authenticity of host '\[127\.0\.0\.1\]:\d+ \(\[127\.0\.0\.1\]:\d+\)' can't be established\.\r\n` +
				`ED25519 key fingerprint is ` + regexp.QuoteMeta(fp) + `\.\r\nThis key is not known by any other names\.\r\n` +
				`Are you sure you want to continue connecting \(yes/no/\[fingerprint\]\)\? $`)
			for i, a := range tt.answers {
				if i > 0 {
					c.see(again)
				}
				if a == ctrlC || a == ctrlD {
					c.press(a)
				} else {
					c.say(a)
				}
			}
			text := c.leaves(tt.status)
			_, err := os.Stat(known)
			if (err == nil) != tt.added || strings.Contains(text, "Warning: Permanently added '[127.0.0.1]:"+strconv.Itoa(s.Port())+"' (ED25519) to the list of known hosts.") != tt.added {
				t.Errorf("known_hosts: %v, want it written: %v; the terminal shows\n%s", err, tt.added, text)
			}
			if told := strings.Contains(text, "adit: error: "); told != (tt.status != 0 && tt.answers[0] != ctrlC) {
				t.Errorf("the terminal shows\n%s", text)
			}
		})
	}
}

func TestPassphraseQuestion(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "ssh-keygen")
	s := testpeer.XCrypto(t)
	const secret, wrong = "open sesame", "open barley"
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-a", "1", "-N", secret, "-f", s.Key.Path).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	known := s.KnownHosts(t)
	for _, tt := range []struct {
		name    string
		answers []string
		status  int
		last    string
	}{
		{"right", []string{secret}, 0, ""},
		{"wrong, then right", []string{wrong, wrong, secret}, 0, ""},
		{"wrong", []string{wrong, wrong, wrong}, 255,
			`adit: error: login tester@.*: permission denied .*\(` + regexp.QuoteMeta(s.Key.Path) + ` does not sign: the passphrase was wrong 3 times\)`},
		{"none", []string{wrong, ""}, 255, `does not sign: no passphrase was given\)`},
		{"Ctrl-C", []string{ctrlC}, 255, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sit(t, t.TempDir(), cat(s, known, "-i", s.Key.Path, "-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no")...)
			c.ask(`Enter passphrase for key '`+regexp.QuoteMeta(s.Key.Path)+`': `, tt.answers...)
			text := c.leaves(tt.status)
			if tt.last == "" && strings.Contains(text, "error") || !regexp.MustCompile(tt.last).MatchString(text) {
				t.Errorf("the terminal shows\n%s\nwant %q", text, tt.last)
			}
		})
	}
}

func TestPasswordQuestion(t *testing.T) {
	t.Parallel()
	const secret = "swordfish"
	addr, host := passwordServer(t, secret)
	s := &testpeer.Server{Endpoint: testpeer.Endpoint{Addr: addr, HostKeys: []gossh.PublicKey{host}, User: "tester"}}
	known := s.KnownHosts(t)
	password := `tester@127\.0\.0\.1's password: `
	sitHere := func(t *testing.T, more ...string) *console {
		return sit(t, t.TempDir(), cat(s, known, append(more, "-o", "PubkeyAuthentication=no")...)...)
	}
	for _, tt := range []struct {
		name    string
		answers []string
		status  int
		last    string
	}{
		{"right", []string{secret}, 0, ""},
		{"wrong, then right", []string{"marlin", "", secret}, 0, ""},
		{"wrong", []string{"marlin", "cod", "eel"}, 255, `(?m)^tester@127\.0\.0\.1: Permission denied \(password,keyboard-interactive\)\.\r\nadit: error: login tester@.*: permission denied`},
		{"Ctrl-C", []string{"marlin", ctrlC}, 255, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sitHere(t, "-o", "KbdInteractiveAuthentication=no")
			for i, a := range tt.answers {
				if i > 0 {
					c.see(`Permission denied, please try again\.\r\n`)
				}
				c.ask(password, a)
			}
			text := c.leaves(tt.status)
			if tt.last == "" && strings.Contains(text, "error") || !regexp.MustCompile(tt.last).MatchString(text) {
				t.Errorf("the terminal shows\n%s\nwant %q", text, tt.last)
			}
			for _, a := range tt.answers {
				if a != "" && a != ctrlC && strings.Contains(string(c.shown.text), a) {
					t.Errorf("the terminal shows the password:\n%s", c.shown.text)
				}
			}
		})
	}
	t.Run("keyboard-interactive", func(t *testing.T) {
		c := sitHere(t, "-o", "PasswordAuthentication=no")
		c.see(`^Two questions\r\n`)
		c.see(`\(tester@127\.0\.0\.1\) Who\? $`)
		c.say("it is me")
		c.see(`it is me\r\n`) // shown as it is typed
		c.ask(`\(tester@127\.0\.0\.1\) Word: `, secret)
		c.leaves(0)
		if strings.Contains(string(c.shown.text), secret) {
			t.Errorf("the terminal shows the answer:\n%s", c.shown.text)
		}
	})
}

// A server that would write over the screen, set the window's title or turn the
// direction of writing is shown as what it says in letters, with -vvv too.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	const evil = "\x1b]0;owned\x07\x1b[2J\u009b1m\u202e\u2066\r"
	key := testpeer.NewKey(t, "ed25519")
	config := &gossh.ServerConfig{
		BannerCallback: func(gossh.ConnMetadata) string { return "banner " + evil + "ends\n" },
		KeyboardInteractiveCallback: func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			for _, prompts := range [][]string{nil, {"first " + evil + "? "}, {}, {strings.Repeat("long", 20000) + "? ", "last\n" + evil + ": "}} {
				if _, err := ask("name "+evil, "instruction "+evil, prompts, make([]bool, len(prompts))); err != nil {
					return nil, err
				}
			}
			return nil, errors.New("denied")
		},
	}
	config.AddHostKey(key.Signer)
	addr := serveNothing(t, config)
	s := &testpeer.Server{Endpoint: testpeer.Endpoint{Addr: addr, HostKeys: []gossh.PublicKey{key.Public}, User: "tester"}}
	for _, v := range []string{"-T", "-vvv"} {
		c := sit(t, t.TempDir(), cat(s, s.KnownHosts(t), v, "-o", "NumberOfPasswordPrompts=1", "-o", "PubkeyAuthentication=no", "-o", "PasswordAuthentication=no")...)
		c.see(`banner \]0;owned\[2J1mends`)
		c.see(`name \]0;owned\[2J1m\r\ninstruction \]0;owned`)
		for _, question := range []string{`\(tester@127\.0\.0\.1\) first \]0;owned\[2J1m\? $`, `long\? $`, `\(tester@127\.0\.0\.1\) last\r\n\]0;owned\[2J1m: $`} {
			c.see(question)
			c.say("secret-answer")
		}
		c.leaves(255)
		if text := string(c.shown.text); strings.ContainsAny(text, "\x1b\x07\u009b\u202e\u2066") || strings.Contains(text, "secret-answer") {
			t.Errorf("%s: the terminal is shown\n%q", v, text)
		}
	}
}

// passwordServer lets tester in with a password, by either method, and runs any
// command without doing anything.
func passwordServer(t *testing.T, secret string) (addr string, host gossh.PublicKey) {
	t.Helper()
	key := testpeer.NewKey(t, "ed25519")
	denied := errors.New("denied")
	config := &gossh.ServerConfig{
		PasswordCallback: func(_ gossh.ConnMetadata, password []byte) (*gossh.Permissions, error) {
			if string(password) != secret {
				return nil, denied
			}
			return nil, nil
		},
		KeyboardInteractiveCallback: func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			answers, err := ask("", "Two questions", []string{"Who? ", "Word: "}, []bool{true, false})
			if err != nil || len(answers) != 2 || answers[0] != "it is me" || answers[1] != secret {
				return nil, denied
			}
			return nil, nil
		},
	}
	config.AddHostKey(key.Signer)
	return serveNothing(t, config), key.Public
}

// serveNothing lets in as config says, and runs any command without doing anything.
func serveNothing(t *testing.T, config *gossh.ServerConfig) (addr string) {
	t.Helper()
	return testnet.ServeTCP(t, func(nc *net.TCPConn) { runNothing(nc, config) })
}

func runNothing(nc net.Conn, config *gossh.ServerConfig) {
	_, channels, requests, err := gossh.NewServerConn(nc, config)
	if err != nil {
		return
	}
	go gossh.DiscardRequests(requests) // ends with the connection
	for open := range channels {
		ch, requests, err := open.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			r.Reply(r.Type == "exec", nil)
			if r.Type == "exec" {
				ch.SendRequest("exit-status", false, make([]byte, 4))
				break
			}
		}
		ch.Close()
	}
}

// Without a terminal nobody can be asked.
func TestNoTerminal(t *testing.T) {
	t.Parallel()
	s := testpeer.XCrypto(t)
	known := filepath.Join(t.TempDir(), "known_hosts")
	cmd := exec.Command("adit", cat(s, known, "-i", s.Key.Path)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	if status, err := exitStatusOf(err); err != nil || status != 255 || !strings.Contains(string(out), "is not known: ED25519 key fingerprint is "+fingerprint(s.HostKeys[0])) {
		t.Errorf("exit status %d, %v, want 255 and the fingerprint:\n%s", status, err, out)
	}
}
