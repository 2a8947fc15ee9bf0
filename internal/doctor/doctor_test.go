package doctor

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/socks"
	"github.com/adit-ssh/adit/sshconfig"
)

var update = flag.Bool("update", false, "write the goldens")

// patient is a person's home with a configuration for the host db.
type patient struct {
	home   string
	masked []string // pairs of what differs from run to run and what stands for it
}

// newPatient makes the home. In config and known, words in capitals between
// braces stand for values: {DIR}, and those of vars.
func newPatient(t *testing.T, config, known string, vars ...string) *patient {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home) // Windows
	t.Setenv("SSH_AUTH_SOCK", "")
	vars = append(vars, "{DIR}", home)
	r := strings.NewReplacer(vars...)
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"config": config, "known_hosts": known} {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), []byte(r.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &patient{home: home}
	for i := 0; i < len(vars); i += 2 {
		p.masked = append(p.masked, vars[i+1], vars[i])
	}
	return p
}

func (p *patient) examine(t *testing.T, o Options) *Report {
	t.Helper()
	o.SSH.Host, o.SSH.SystemFile = "db", filepath.Join(p.home, "no system file")
	return Run(t.Context(), o)
}

var (
	spent    = regexp.MustCompile(`(?m)^(ok|warning|failed|skipped)( +)([a-z]+(?: [a-z]+)?) +[0-9.]+ m?s  `)
	spentMS  = regexp.MustCompile(`"ms": [0-9.]+`)
	finger   = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{43}`)
	software = regexp.MustCompile(`SSH-2\.0-OpenSSH[^\n",]*`)
	pid      = regexp.MustCompile(`pid \d+ \([^)]*\)`)
	ours     = regexp.MustCompile(`we offer: [^\n"]*`)
)

// mask makes a report the same for each run.
func (p *patient) mask(s string) string {
	s = strings.NewReplacer(p.masked...).Replace(s)
	s = spent.ReplaceAllStringFunc(s, func(line string) string {
		m := spent.FindStringSubmatch(line)
		return fmt.Sprintf("%s%s%-14s %7s  ", m[1], m[2], m[3], "TIME")
	})
	s = spentMS.ReplaceAllString(s, `"ms": 0`)
	s = finger.ReplaceAllString(s, "SHA256:F")
	s = software.ReplaceAllString(s, "SSH-2.0-OpenSSH")
	s = ours.ReplaceAllString(s, "we offer: OURS")
	return pid.ReplaceAllString(s, "pid N (NAME)")
}

// wantGolden compares the report, as text and as JSON, with testdata.
func (p *patient) wantGolden(t *testing.T, name string, r *Report) {
	t.Helper()
	var text, object bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.JSON(&object); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(object.Bytes()) {
		t.Errorf("no JSON: %s", object.Bytes())
	}
	for suffix, got := range map[string]string{".txt": text.String(), ".json": object.String()} {
		got = p.mask(got)
		file := filepath.Join("testdata", name+suffix)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
	}
}

// withSSHD is newPatient for a server of OpenSSH.
func withSSHD(t *testing.T, s *testpeer.Server, config, known string) *patient {
	t.Helper()
	key := testpeer.NewKey(t, "ed25519")
	return newPatient(t, config, known, "{PORT}", fmt.Sprint(s.Port()), "{USER}", s.User, "{KEY}", s.Key.Path, "{OTHER}", key.Path,
		"{HOSTKEY}", strings.TrimSpace(string(gossh.MarshalAuthorizedKey(s.HostKeys[0]))), "{OTHERKEY}", key.Line())
}

const base = `Host db
	HostName 127.0.0.1
	Port {PORT}
	User {USER}
`

// The set-ups that people break most. What each report says is in testdata.
func TestBrokenSetups(t *testing.T) {
	testpeer.Need(t, "sshd")
	const known = "# ours\n[127.0.0.1]:{PORT} {HOSTKEY}\n"
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, busyPort, _ := net.SplitHostPort(busy.Addr().String())
	for _, c := range []struct {
		name, config, known string
		sshd                []string
		exit                Stage
	}{
		{"works", "IdentityFile {KEY}\nServerAliveInterval 30\n", known, nil, 0},
		{"wrong_key", "IdentityFile {OTHER}\n", known, nil, StageLogin},
		{"no_key", "IdentityFile none\n", known, nil, StageLogin},
		{"changed_key", "IdentityFile {KEY}\n", "[127.0.0.1]:{PORT} {OTHERKEY}\n", nil, StageHostKey},
		{"unknown_key", "IdentityFile {KEY}\nStrictHostKeyChecking accept-new\n", "", nil, StageHostKey},
		{"no_common_kex", "IdentityFile {KEY}\n", known, []string{"KexAlgorithms diffie-hellman-group1-sha1"}, StageNegotiation},
		{"no_common_cipher", "Ciphers aes256-gcm@openssh.com\n", known, []string{"Ciphers aes128-ctr"}, StageNegotiation},
		{"forwards", "IdentityFile {KEY}\nLocalForward 127.0.0.1:" + busyPort + " 127.0.0.1:{PORT}\nLocalForward 127.0.0.1:{FREE} 127.0.0.1:1\nDynamicForward 127.0.0.1:{FREE}\n", known, nil, StageForward},
		{"forwarding_forbidden", "IdentityFile {KEY}\nLocalForward 127.0.0.1:{FREE} 127.0.0.1:{PORT}\n", known, []string{"AllowTcpForwarding no"}, StageForward},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: c.sshd})
			free := freePort(t)
			p := withSSHD(t, s, base+strings.ReplaceAll(c.config, "{FREE}", free), c.known)
			p.masked = append(p.masked, free, "{FREE}", busyPort, "{BUSY}")
			before, _ := os.ReadFile(filepath.Join(p.home, ".ssh", "known_hosts"))
			r := p.examine(t, Options{})
			if got := r.ExitStatus(); got != int(c.exit) {
				t.Errorf("exit status %d, want %d", got, c.exit)
			}
			p.wantGolden(t, c.name, r)
			if after, _ := os.ReadFile(filepath.Join(p.home, ".ssh", "known_hosts")); !bytes.Equal(before, after) {
				t.Errorf("known_hosts was changed to %q", after)
			}
		})
	}
}

// says starts a server that sends text and is silent then.
func says(t *testing.T, text string) (port string) {
	t.Helper()
	_, port, _ = net.SplitHostPort(testnet.ServeTCP(t, func(c *net.TCPConn) {
		io.WriteString(c, text)
		io.Copy(io.Discard, c)
	}))
	return port
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// What answers in place of a server is told.
func TestNoServer(t *testing.T) {
	for name, text := range map[string]string{
		"login_banner": "Welcome to jump.example\r\nLast login: Sat Nov 21\r\n$ ",
		"web_server":   "HTTP/1.1 400 Bad Request\r\n\r\n",
		"silent":       "",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPatient(t, base+"ConnectTimeout 1\n", "", "{PORT}", says(t, text), "{USER}", "ann")
			r := p.examine(t, Options{})
			if r.ExitStatus() != int(StageVersion) {
				t.Errorf("exit status %d, want %d", r.ExitStatus(), StageVersion)
			}
			p.wantGolden(t, name, r)
		})
	}
}

// A refused port and a name that does not exist end early, and nothing is said
// to be there that was not looked at.
func TestNotReached(t *testing.T) {
	_, port, _ := net.SplitHostPort(testpeer.RefusedAddr(t))
	p := newPatient(t, base, "", "{PORT}", port, "{USER}", "ann")
	r := p.examine(t, Options{})
	if r.ExitStatus() != int(StageAddress) {
		t.Errorf("exit status %d, want %d", r.ExitStatus(), StageAddress)
	}
	p.wantGolden(t, "refused", r)

	p = newPatient(t, "Host db\n\tHostName no-such-host.invalid\n\tConnectTimeout 2\n", "")
	if r := p.examine(t, Options{}); r.ExitStatus() != int(StageName) {
		t.Errorf("exit status %d, want %d: %+v", r.ExitStatus(), StageName, r.Checks)
	}

	p = newPatient(t, "Host db\n\tPort many\n\tUser ann\n", "")
	r = p.examine(t, Options{})
	if f := r.Failure(); f == nil || f.Stage != StageConfig || !strings.Contains(f.Text, "config:2") || len(r.Checks) != 1 {
		t.Errorf("got %+v, want a configuration that fails at line 2 alone", r.Checks)
	}
}

// The seed of this: a script that runs an interactive ssh unless its parent is
// one.
func TestNestedSSH(t *testing.T) {
	p := newPatient(t, "Host db\n\tHostName i-0123\n\tUser ann\n\tConnectTimeout 1\n\tProxyCommand sh -c \"{DIR}/ssh-ssm.sh %h %r\"\n", "")
	script := "#!/bin/sh\n# exec ssh here\nif false; then\n  aws ssm start-session\nelse\n  echo 'Welcome to jump'; cat >/dev/null; exec ssh -tt \"$2@jump\"\nfi\n"
	if err := os.WriteFile(filepath.Join(p.home, "ssh-ssm.sh"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	r := p.examine(t, Options{})
	f := r.Failure()
	if f == nil || f.Stage != StageProxy && f.Stage != StageVersion || f.Meaning != nestedMeaning || !strings.Contains(f.Fix, "ProxyCommand adit ssm %h %p") {
		t.Fatalf("got %+v, want a failure that names the nested ssh", f)
	}
	var out strings.Builder
	r.Text(&out)
	if want := p.home + "/ssh-ssm.sh:6: nested ssh: ssh -tt $2@jump"; !strings.Contains(out.String(), want) {
		t.Errorf("got\n%s\nwant %q in it", out.String(), want)
	}
}

// A proxy that wants a login is the proxy's stage, and the server is not judged.
func TestProxyRefuses(t *testing.T) {
	proxy := says(t, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
	p := newPatient(t, base+"ConnectTimeout 5\n", "", "{PORT}", "22981", "{USER}", "ann", "{PROXY}", proxy)
	r := p.examine(t, Options{Complete: func(o *setup.Options) error {
		if o.Host != "127.0.0.1" {
			t.Errorf("completed for %q, want the HostName", o.Host)
		}
		o.Proxy = &dial.Proxy{Address: "127.0.0.1:" + proxy, Protocol: socks.HTTPConnect}
		return nil
	}})
	if r.ExitStatus() != int(StageProxy) {
		t.Errorf("exit status %d, want %d", r.ExitStatus(), StageProxy)
	}
	p.wantGolden(t, "proxy_407", r)
}

// A jump host is only looked at, too, and its connection is not taken for the
// server's.
func TestJumpHost(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	config := base + "IdentityFile {OTHER}\nProxyJump jump\nHost jump\nHostName 127.0.0.1\nPort {PORT}\nUser {USER}\nIdentityFile {KEY}\nStrictHostKeyChecking accept-new\n"
	p := withSSHD(t, s, config, "[127.0.0.1]:{PORT} {HOSTKEY}\n")
	r := p.examine(t, Options{})
	if r.ExitStatus() != int(StageLogin) {
		t.Errorf("exit status %d, want %d: %+v", r.ExitStatus(), StageLogin, r.Checks)
	}
	for _, c := range r.Checks {
		if strings.Contains(c.Text, "accepted") {
			t.Errorf("%s: the jump host's login is told as the server's", c.Subject)
		}
	}

	p = withSSHD(t, s, config, "")
	r = p.examine(t, Options{})
	if r.ExitStatus() != int(StageProxy) {
		t.Errorf("exit status %d, want %d: the jump host is not known", r.ExitStatus(), StageProxy)
	}
	if f := r.Failure(); f == nil || f.Meaning != "jump host jump is where the way ends" || f.Fix != "look at it alone: adit doctor jump" {
		t.Errorf("got %+v, want the jump host to be named", f)
	}
	if known, err := os.ReadFile(filepath.Join(p.home, ".ssh", "known_hosts")); err != nil || len(known) > 0 {
		t.Errorf("known_hosts is %q, %v, want it as it was", known, err)
	}
}

func TestNestedIn(t *testing.T) {
	for command, want := range map[string]string{
		"ssh jump":                               "nested ssh: ssh jump",
		"exec /usr/bin/ssh -p 2222 -i k ann@j":   "nested ssh: /usr/bin/ssh -p 2222 -i k ann@j",
		"bash -c 'cd /; ssh jump'":               "nested ssh: ssh jump",
		"ssh -tt jump":                           "nested ssh: ssh -tt jump",
		"ssh -W %h:%p jump":                      "",
		"ssh -qW %h:%p jump":                     "",
		"ssh jump -W %h:%p":                      "",
		"ssh jump nc %h %p":                      "",
		"ssh -p22 jump nc %h %p":                 "",
		"ssh -V":                                 "",
		"nc -X connect -x proxy:3128 %h %p":      "",
		"aws ssm start-session --target %h":      "",
		"echo ssh jump":                          "",
		"sh -c \"sh -c 'sh -c \\\"ssh jump\\\"'": "",
		"":                                       "",
		"'":                                      "",
	} {
		got := nestedIn(command, 0)
		if got != want && command != "sh -c \"sh -c 'sh -c \\\"ssh jump\\\"'" {
			t.Errorf("%q: got %q, want %q", command, got, want)
		}
	}
}

// What holds at a terminal and not on the desktop.
func TestGUI(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "proxytool"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config string
		sock   string
		want   []string // in text, meaning or fix of the gui checks
		exit   bool     // one of them fails
	}{
		{"", "", []string{"nothing here needs a terminal"}, false},
		{"", "/run/agent", []string{"IdentityAgent /run/agent"}, false},
		{"IdentityAgent /run/agent\n", "/run/agent", []string{"nothing here needs"}, false},
		{"ProxyCommand nc-x %n %h\n", "", []string{"ProxyCommand has %n"}, true},
		{"ProxyCommand proxytool %h %p\n", "", []string{"write its full path: " + bin + "/proxytool"}, true},
		{"ProxyCommand /bin/cat; echo\n", "", []string{"only the first one is run"}, false},
		{"ProxyCommand /bin/cat\nProxyUseFdpass yes\n", "", []string{"ProxyUseFdpass yes"}, true},
		{"ProxyJump bastion\n", "", []string{"ssh -W"}, false},
	} {
		p := newPatient(t, base+"ConnectTimeout 1\n"+c.config, "", "{PORT}", "1", "{USER}", "ann")
		t.Setenv("PATH", GUIPath)
		r := p.examine(t, Options{GUI: &Surroundings{AuthSock: c.sock, Path: bin}})
		var got strings.Builder
		failed := false
		for _, check := range r.Checks {
			if check.Stage == StageGUI {
				fmt.Fprintf(&got, "%s: %s; %s; %s\n", check.Status, check.Text, check.Meaning, check.Fix)
				failed = failed || check.Status == Failed
			}
		}
		for _, want := range c.want {
			if !strings.Contains(got.String(), want) {
				t.Errorf("%q: got %q, want %q in it", c.config, got.String(), want)
			}
		}
		if failed != c.exit {
			t.Errorf("%q: failed is %v, want %v: %s", c.config, failed, c.exit, got.String())
		}
	}
}

// libssh does not bear lines that OpenSSH does.
func TestGUIBannerLines(t *testing.T) {
	p := newPatient(t, base, "", "{PORT}", says(t, strings.Repeat("x", 300)+"\r\nSSH-2.0-x\r\n\xff\xff\xff\xff\xff"), "{USER}", "ann")
	for gui, want := range map[*Surroundings]Status{nil: OK, {}: Warning} {
		r := p.examine(t, Options{GUI: gui, SSH: sshconfig.Options{CommandLine: []string{"ConnectTimeout=1"}}})
		for _, c := range r.Checks {
			if c.Stage == StageVersion && c.Status != want {
				t.Errorf("gui %v: got %+v, want %s", gui != nil, c, want)
			}
		}
	}
}
