//go:build unix

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/knownhosts"
)

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct{ args, want []string }{
		{[]string{"/usr/bin/ssh-agent", "-k"}, []string{"agent", "-k"}},
		{[]string{"ssh-agent"}, []string{"agent"}},
		{[]string{"adit", "agent", "-k"}, []string{"agent", "-k"}},
		{[]string{"./adit"}, []string{}},
	} {
		if got := commandLine(tt.args); !slices.Equal(got, tt.want) {
			t.Errorf("%q is %q, want %q", tt.args, got, tt.want)
		}
	}
}

func TestParseAgent(t *testing.T) {
	t.Setenv("SHELL", "/bin/tcsh")
	a, err := parseAgent([]string{"-a", "/s", "-t1h30m", "-E", "MD5", "-Oallow-remote-pkcs11", "-P", "/usr/lib/*"})
	if err != nil || a.path != "/s" || a.lifetime != 90*time.Minute || !a.md5 || !a.csh {
		t.Errorf("got %+v, %v", a, err)
	}
	a, err = parseAgent([]string{"-s", "--"})
	if err != nil || a.csh || !a.sh {
		t.Errorf("got %+v, %v", a, err)
	}
	// The command's flags are the command's.
	a, err = parseAgent([]string{"-t", "60", "xterm", "-c", "-k"})
	if err != nil || !slices.Equal(a.command, []string{"xterm", "-c", "-k"}) || a.kill {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, args := range []string{"-c -s", "-D -d", "-k xterm", "-D xterm", "-x", "-a", "-t", "-u xterm", "-t -1", "-E sha1"} {
		if a, err := parseAgent(strings.Fields(args)); err == nil {
			t.Errorf("%s: got %+v", args, a)
		}
	}
}

// Whatever a path is, the shell that evaluates it gets just that.
func TestShellWord(t *testing.T) {
	for _, s := range []string{"/tmp/ssh-1/agent.2", "", "a b", "it's", "$(touch x)`id`", "a;b", "-n", "~", "*", "\\", "ä\n"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellWord(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q arrives as %q, %v", s, out, err)
		}
	}
	if got := shellWord("/tmp/ssh-1/agent.2"); got != "/tmp/ssh-1/agent.2" {
		t.Errorf("a plain path is quoted: %s", got)
	}
}

// The person learns which key, for whom and over which hosts; a comment can't fake
// a line of the question.
func TestQuestion(t *testing.T) {
	var keys []gossh.PublicKey
	for range 4 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k, err := gossh.NewPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	blob := func(i int) []byte { return keys[i].Marshal() }
	known := filepath.Join(t.TempDir(), "known_hosts")
	line := knownhosts.Line(knownhosts.Host{Name: "db.example.com", Port: 22}, keys[1], false) + "\n" + knownhosts.Line(knownhosts.Host{Name: "db", Port: 2222}, keys[1], false) + "\n" +
		knownhosts.Line(knownhosts.Host{Name: "hashed", Port: 22}, keys[3], true) + "\n"
	if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(a *agentArgs, c agent.Confirmation) string {
		t.Helper()
		a.guard.knownHosts = []string{known}
		if err := a.guard.complete(); err != nil {
			t.Fatal(err)
		}
		return a.question(c)
	}
	print := func(i int) string { return gossh.FingerprintSHA256(keys[i]) }
	begin := "Allow use of key laptop?\nKey fingerprint " + print(0) + ".\nIt is to "
	db, stranger := "db.example.com, [db]:2222 ("+print(1)+")", "a host that is not in known_hosts ("+print(2)+")"
	for _, tt := range []struct {
		c    agent.Confirmation
		want string
	}{
		{agent.Confirmation{}, "sign something that is no login."},
		{agent.Confirmation{User: "alice", Host: blob(1)}, "log in as alice at " + db + "."},
		{agent.Confirmation{User: "alice"}, "log in as alice at a host that is not known."},
		{agent.Confirmation{User: "alice", Astray: true}, "log in as alice at a host that is not known, and it can't be told for whom."},
		{agent.Confirmation{User: "alice", Host: blob(2), Hops: [][]byte{blob(1)}}, "log in as alice at " + stranger + ", asked for over " + db + "."},
		{agent.Confirmation{Hops: [][]byte{blob(1), blob(2)}}, "sign something that is no login, asked for over " + db + " and then " + stranger + "."},
		{agent.Confirmation{Namespace: "git", Hops: [][]byte{blob(2)}}, `sign something for "git", asked for over ` + stranger + "."},
		{agent.Confirmation{User: "alice", Host: []byte("junk")}, "log in as alice at a host that is not in known_hosts (" + agent.Fingerprint([]byte("junk")) + ")."},
		{agent.Confirmation{User: "alice", Host: blob(3)}, "log in as alice at a host whose name known_hosts does not tell (" + print(3) + ")."},
	} {
		tt.c.Key, tt.c.Comment = keys[0], "laptop"
		if got := ask(&agentArgs{}, tt.c); got != begin+tt.want {
			t.Errorf("got %q, want %q", got, begin+tt.want)
		}
	}
	c := agent.Confirmation{Key: keys[0], Comment: "a\nb\x1b[2J", User: "x\ny", Host: blob(1)}
	if got := ask(&agentArgs{md5: true}, c); strings.Count(got, "\n") != 2 || strings.Contains(got, "\x1b") || strings.Count(got, "MD5:") != 2 {
		t.Errorf("got %q", got)
	}
	// What a peer calls something can't be taken for what the agent says.
	c = agent.Confirmation{Key: keys[0], Comment: "laptop? It is to log in as", User: "bob at " + db + ".", Host: blob(2)}
	want := "Allow use of key \"laptop? It is to log in as\"?\nKey fingerprint " + print(0) + ".\nIt is to log in as \"" + cut("bob at "+db+".") + "\" at " + stranger + "."
	if got := ask(&agentArgs{}, c); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWord(t *testing.T) {
	for _, tt := range []struct{ s, want string }{
		{"alice", "alice"}, {"DOMAIN\\alice", "DOMAIN\\alice"}, {"/home/alice/.ssh/id_rsa", "/home/alice/.ssh/id_rsa"}, {"", `""`}, {"two words", `"two words"`}, {`a"b`, `"a\"b"`},
		{"\u202egnp", `"\u202egnp"`}, {"a\u200bb", `"a\u200bb"`}, {"\xff", `"\xff"`}, {"\u0430lice", "\"\u0430lice\""}, {"a\u2028b", `"a\u2028b"`},
		{strings.Repeat("x", maxWord), strings.Repeat("x", maxWord)}, {strings.Repeat("x", maxWord+1), `"` + strings.Repeat("x", maxWord) + `…"`},
	} {
		if got := word(tt.s); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.s, got, tt.want)
		}
	}
}

// A person is asked one question at a time, however many want something signed.
func TestConfirmOneByOne(t *testing.T) {
	a, err := parseAgent(nil)
	if err != nil {
		t.Fatal(err)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_ASKPASS", "true")
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")
	a.asking <- struct{}{} // somebody is asked
	said := make(chan bool)
	go func() { said <- a.confirm(t.Context(), agent.Confirmation{Key: key}) }()
	select {
	case <-said:
		t.Fatal("two questions are asked at once")
	case <-time.After(50 * time.Millisecond):
	}
	<-a.asking
	if !<-said {
		t.Error("the second question is not asked")
	}
	a.asking <- struct{}{}
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	if a.confirm(gone, agent.Confirmation{Key: key}) {
		t.Error("who has gone was asked for")
	}
}

func TestParseAgentUpstream(t *testing.T) {
	for _, tt := range []struct {
		args      string
		upstreams string
		command   string
	}{
		{"--upstream /a", "/a", ""},
		{"--upstream=/a --upstream /b -D", "/a /b", ""},
		{"-s --upstream /a -a /s --upstream=/b", "/a /b", ""},
		{"--upstream /a xterm --upstream /b", "/a", "xterm --upstream /b"},
		{"--upstream=/a -- xterm -k", "/a", "xterm -k"},
	} {
		a, err := parseAgent(strings.Fields(tt.args))
		if err != nil || strings.Join(a.upstreams, " ") != tt.upstreams || strings.Join(a.command, " ") != tt.command {
			t.Errorf("%s: got %+v, %v", tt.args, a, err)
		}
	}
	for _, args := range []string{"--upstream", "--upstream=", "--upstrea /a", "--", "--upstream /a -t 60", "--upstream /a -P /usr/lib/*", "--upstream /a -O allow-remote-pkcs11", "--upstream=/a --other"} {
		if a, err := parseAgent(strings.Fields(args)); err == nil && args != "--" {
			t.Errorf("%s: got %+v", args, a)
		}
	}
}
