//go:build unix

package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// console is adit in a terminal of its own, and the person before it.
type console struct {
	t      *testing.T
	tty    *os.File // the person's side
	before *term.State
	shown  output
	seen   int // how much of shown was expected already
	wait   func() error
}

// sit starts adit with a home folder of its own.
func sit(t *testing.T, home string, args ...string) *console {
	t.Helper()
	cmd := exec.Command("adit", args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "SSH_AUTH_SOCK=")
	tty, inner, err := pty.Open()
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer inner.Close()
	c := &console{t: t, tty: tty}
	if c.before, err = term.GetState(int(inner.Fd())); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.wait = sync.OnceValue(cmd.Wait)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer c.shown.end()
		b := make([]byte, 4096)
		for {
			n, err := tty.Read(b)
			c.shown.Write(b[:n])
			if err != nil {
				return // nobody has the inner side open any more
			}
		}
	})
	t.Cleanup(func() {
		cmd.Process.Kill()
		c.wait()
		reading.Wait()
		tty.Close()
	})
	return c
}

// see waits until the terminal shows what matches, behind what was seen, and
// returns the match's groups.
func (c *console) see(pattern string) []string {
	c.t.Helper()
	groups, end, err := c.shown.await(regexp.MustCompile(pattern), c.seen)
	if err != nil {
		c.t.Fatal(err)
	}
	c.seen = end
	return groups
}

// say types text and Enter.
func (c *console) say(text string) { c.press(text + "\r") }

func (c *console) press(keys string) {
	c.t.Helper()
	if _, err := c.tty.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// leaves waits for adit's end, and checks the exit status and that the terminal
// is as it was. It returns what the terminal showed after what was seen.
func (c *console) leaves(status int) string {
	c.t.Helper()
	text, err := c.shown.rest(c.seen)
	if err != nil {
		c.t.Fatalf("adit does not end: %v; the terminal shows\n%s", err, text)
	}
	got, err := exitStatusOf(c.wait())
	if err != nil {
		c.t.Fatal(err)
	}
	if got != status {
		c.t.Errorf("exit status %d, want %d; the terminal shows\n%s", got, status, c.shown.text)
	}
	if state, err := term.GetState(int(c.tty.Fd())); err != nil || !reflect.DeepEqual(state, c.before) {
		c.t.Errorf("the terminal is left as %+v, %v, want %+v", state, err, c.before)
	}
	return text
}

const ctrlC, ctrlD = "\x03", "\x04"

// cat returns the command line of a command at s that ends at once.
func cat(s *testpeer.Server, known string, more ...string) []string {
	args := append([]string{"ssh", "-n", "-p", strconv.Itoa(s.Port()), "-o", "UserKnownHostsFile=" + known}, more...)
	return append(args, s.User+"@"+s.Host(), "cat")
}

func TestHostKeyQuestion(t *testing.T) {
	t.Parallel()
	s := testpeer.XCrypto(t)
	fp := fingerprint(s.HostKeys[0])
	const again = `Please type yes, no, or the fingerprint: $`
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
		{"nonsense, then yes", []string{"", "why", "yes"}, 0, true},
		{"nonsense", []string{"what", "why", fingerprint(s.Key.Public)}, 255, false},
		{"Ctrl-D", []string{ctrlD}, 255, false},
		{"Ctrl-C", []string{ctrlC}, 255, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			known := filepath.Join(t.TempDir(), "known_hosts")
			c := sit(t, t.TempDir(), cat(s, known, "-i", s.Key.Path)...)
			c.see(`The host \[127\.0\.0\.1\]:\d+ is not known\. Its ssh-ed25519 key has the fingerprint\r\n` + regexp.QuoteMeta(fp) +
				`\r\nIs that right \(yes, no, or the fingerprint\)\? $`)
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
			if (err == nil) != tt.added || strings.Contains(text, "adit: warning: added the ssh-ed25519 key "+fp) != tt.added {
				t.Errorf("known_hosts: %v, want it written: %v; the terminal shows\n%s", err, tt.added, text)
			}
			if told := strings.Contains(text, "adit: error: "); told != (tt.status != 0 && tt.answers[0] != ctrlC) {
				t.Errorf("the terminal shows\n%s", text)
			}
		})
	}
}

// What `adit demo --keep` prints works, until Ctrl-C.
func TestDemoKeeps(t *testing.T) {
	t.Parallel()
	c := sit(t, t.TempDir(), "demo", "--keep")
	page := c.see(`Still running\. Try, in another terminal:\r\n  curl (http://\S+/hello)\r\n`)[1]
	c.see(`Ctrl-C ends it\.\r\n$`)
	resp, err := http.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := "A private page, /hello"; err != nil || string(body) != want {
		t.Errorf("%s: got %q, %v, want %q", page, body, err, want)
	}
	http.DefaultClient.CloseIdleConnections()
	c.press(ctrlC)
	c.leaves(0)
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
			c := sit(t, t.TempDir(), cat(s, known, "-i", s.Key.Path)...)
			c.ask(`Passphrase of `+regexp.QuoteMeta(s.Key.Path)+`: `, tt.answers...)
			text := c.leaves(tt.status)
			if tt.last == "" && strings.Contains(text, "error") || !regexp.MustCompile(tt.last).MatchString(text) {
				t.Errorf("the terminal shows\n%s\nwant %q", text, tt.last)
			}
		})
	}
}

// ask answers a question that must not show the answers, and is repeated while
// there are more of them.
func (c *console) ask(question string, answers ...string) {
	c.t.Helper()
	for _, a := range answers {
		c.see(question + `$`)
		if a == ctrlC {
			c.press(a)
		} else {
			c.say(a)
		}
	}
}

func TestPasswordQuestion(t *testing.T) {
	t.Parallel()
	const secret = "swordfish"
	addr, host := passwordServer(t, secret)
	s := &testpeer.Server{Endpoint: testpeer.Endpoint{Addr: addr, HostKeys: []gossh.PublicKey{host}, User: "tester"}}
	known := s.KnownHosts(t)
	password := `tester@127\.0\.0\.1:` + strconv.Itoa(s.Port()) + `'s password: `
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
		{"wrong", []string{"marlin", "cod", "eel"}, 255, `adit: error: login tester@.*: permission denied`},
		{"Ctrl-C", []string{"marlin", ctrlC}, 255, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sitHere(t, "-o", "KbdInteractiveAuthentication=no")
			c.ask(password, tt.answers...)
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
		c.see(`adit: Two questions\r\n`)
		c.see(`Who\? $`)
		c.say("it is me")
		c.see(`it is me\r\n`) // shown as it is typed
		c.ask(`Word: `, secret)
		c.leaves(0)
		if strings.Contains(string(c.shown.text), secret) {
			t.Errorf("the terminal shows the answer:\n%s", c.shown.text)
		}
	})
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
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { runNothing(nc, config) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String(), key.Public
}

func runNothing(nc net.Conn, config *gossh.ServerConfig) {
	defer nc.Close()
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

// An interrupt ends adit without a word, however far the connection is.
func TestInterruptWhileConnecting(t *testing.T) {
	t.Parallel()
	key := testpeer.NewKey(t, "ed25519")
	for _, tt := range []struct {
		name  string
		serve func(*testing.T, net.Conn) // returns when it is time
	}{
		{"no version line", func(*testing.T, net.Conn) {}},
		{"no key exchange", func(_ *testing.T, nc net.Conn) {
			nc.Write([]byte("SSH-2.0-silent\r\n"))
			nc.Read(make([]byte, 1)) // it has begun
		}},
		{"no login", func(t *testing.T, nc net.Conn) {
			config := &gossh.ServerConfig{}
			asked, over := make(chan struct{}), make(chan struct{})
			config.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) {
				close(asked)
				<-over
				return nil, errors.New("denied")
			}
			config.AddHostKey(key.Signer)
			var serving sync.WaitGroup
			serving.Go(func() { gossh.NewServerConn(nc, config) })
			t.Cleanup(func() {
				close(over)
				serving.Wait()
			})
			<-asked
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			known := filepath.Join(t.TempDir(), "known_hosts")
			cmd := exec.Command("adit", "ssh", "-q", "-N", "-p", portOf(l.Addr()), "-i", key.Path, "-o", "UserKnownHostsFile="+known,
				"-o", "StrictHostKeyChecking=accept-new", "127.0.0.1")
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")
			var out output
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			hung := time.AfterFunc(patience, func() { cmd.Process.Kill() })
			defer hung.Stop()
			nc, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			tt.serve(t, nc)
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if status, err := exitStatusOf(cmd.Wait()); err != nil || status != 255 || len(out.text) > 0 {
				t.Errorf("exit status %d, %v, want 255 without a word:\n%s", status, err, out.text)
			}
		})
	}
}
