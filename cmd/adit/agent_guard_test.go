//go:build unix

package main

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/knownhosts"
)

// A host that is added to known_hosts while the agent runs has a name from then on.
func TestAgentHosts(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	h := &agentHosts{files: []string{file}}
	want := func(why, want string) {
		t.Helper()
		if names, _ := h.Names(key.Marshal()); strings.Join(names, " ") != want || h.Is(key.Marshal(), "db") != (want == "db") {
			t.Errorf("%s: it is %q, want %q", why, names, want)
		}
	}
	want("no file", "")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# nobody\n")
	want("an empty file", "")
	write(knownhosts.Line(knownhosts.Host{Name: "db", Port: 22}, key, false) + "\n")
	want("it was added", "db")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want("the file is gone", "")
	if names, more := h.Names([]byte("junk")); names != nil || more || h.Is([]byte("junk"), "db") {
		t.Errorf("junk is %q", names)
	}
}

// What the options say goes to the agent in the background unchanged and in order.
func TestAgentGuardOptions(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"rules", "known"} {
		if err := os.WriteFile(name, []byte("# nothing\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--deny", "user=root via=*>...", "--rules=rules", "--allow=comment=\"a b\"", "--known-hosts", "known", "--confirm-forwarded", "--audit", "log", "-D"}
	a, err := parseAgent(args)
	if err != nil || !a.foreground || !a.guard.confirm || a.guard.audit == nil || a.guard.audit.Path != filepath.Join(dir, "log") {
		t.Fatalf("got %+v, %v", a, err)
	}
	want := "--deny=user=root via=*>...|--rules=" + dir + "/rules|--allow=comment=\"a b\"|--known-hosts=" + dir + "/known|--confirm-forwarded|--audit=" + dir + "/log"
	if got := strings.Join(a.guard.given, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again, err := parseAgent(a.guard.given)
	if err != nil || strings.Join(again.guard.given, "|") != want {
		t.Errorf("read again: %v, %v", again, err)
	}
	for _, args := range [][]string{{"--audit", "a", "--audit", "b"}, {"--rules", "none"}, {"--known-hosts", "none"}, {"--deny", "x=y"}, {"--allow"}, {"--confirm-forwarded=1"}} {
		if a, err := parseAgent(args); err == nil {
			t.Errorf("%q: got %+v", args, a)
		}
	}
}
