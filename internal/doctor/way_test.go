package doctor

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// text is the report as people read it.
func text(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func wantLines(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("got\n%s\nwant %q in it", got, w)
		}
	}
}

// A command that fails is told with all that it said, on either side.
func TestCommandThatFails(t *testing.T) {
	p := newPatient(t, "Host db\n\tUser ann\n\tProxyCommand sh -c \"echo Welcome; echo no way >&2; exit 3\"\n", "")
	r := p.examine(t, Options{})
	if r.ExitStatus() != int(StageProxy) {
		t.Errorf("exit status %d, want %d", r.ExitStatus(), StageProxy)
	}
	wantLines(t, text(t, r), "it sent: Welcome", "it exited with status 3", `it said "no way"`)
}

// A script that takes the right way when adit starts it, and has the wrong one
// in it all the same: the seed's, under ssh.
func TestNestedSSHThatWorks(t *testing.T) {
	testpeer.Need(t, "sshd", "nc")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	p := withSSHD(t, s, base+"IdentityFile {KEY}\nProxyCommand {DIR}/way %h %p\n", "[127.0.0.1]:{PORT} {HOSTKEY}\n")
	script := "#!/bin/sh\nif true; then\n  exec nc \"$1\" \"$2\"\nfi\nexec ssh -tt jump\n"
	if err := os.WriteFile(filepath.Join(p.home, "way"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	r := p.examine(t, Options{})
	if r.ExitStatus() != 0 {
		t.Errorf("exit status %d, want 0:\n%s", r.ExitStatus(), text(t, r))
	}
	wantLines(t, text(t, r), "warning  proxy", "way:5: nested ssh: ssh -tt jump", "meaning: it works from here", "to do:   let ssh be a pipe")
}

// People show reports to others.
func TestNoPasswords(t *testing.T) {
	p := newPatient(t, "Host db\n\tUser ann\n\tProxyCommand no-such-program -x socks5://joe:s3cr@t@proxy:1080 %h && x\n", "")
	for _, gui := range []*Surroundings{nil, {}} {
		r := p.examine(t, Options{GUI: gui})
		wantLines(t, text(t, r), "socks5://joe:***@proxy:1080")
		for _, c := range r.Checks {
			if all := fmt.Sprint(c); strings.Contains(all, "s3cr") {
				t.Errorf("it tells the password: %s", all)
			}
		}
	}
}

// Forwards of sockets are looked at, and nothing is left of it; those that the
// server would listen for are not asked for, but their target is tried from here.
func TestForwardsOfOtherKinds(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	_, refused, _ := net.SplitHostPort(testpeer.RefusedAddr(t))
	p := withSSHD(t, s, base+"IdentityFile {KEY}\nLocalForward {DIR}/new {DIR}/target\nLocalForward {DIR}/old {DIR}/no-target\nLocalForward {DIR}/nowhere/s {DIR}/target\n"+
		"RemoteForward 1001 127.0.0.1:{PORT}\nRemoteForward 1002 127.0.0.1:{REFUSED}\nRemoteForward 1003 {DIR}/target\nRemoteForward 1004\nRemoteForward {DIR}/remote {DIR}/no-target\n",
		"[127.0.0.1]:{PORT} {HOSTKEY}\n")
	config := filepath.Join(p.home, ".ssh", "config")
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	full := strings.ReplaceAll(string(b), "{REFUSED}", refused)
	for _, name := range []string{"target", "old"} {
		l, err := net.Listen("unix", filepath.Join(p.home, name))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	for _, unlink := range []string{"", "StreamLocalBindUnlink yes\n"} {
		if err := os.WriteFile(config, []byte(full+unlink), 0o600); err != nil {
			t.Fatal(err)
		}
		r := p.examine(t, Options{})
		if r.ExitStatus() != int(StageForward) {
			t.Errorf("exit status %d, want %d", r.ExitStatus(), StageForward)
		}
		old := "failed   forward           TIME  {DIR}/old:{DIR}/no-target: "
		if unlink != "" {
			old = "ok       forward                 {DIR}/old:{DIR}/no-target: the unix socket is there, and would be replaced"
		}
		got := p.mask(text(t, r))
		wantLines(t, got, "{DIR}/new:{DIR}/target: the unix socket can be made", "target {DIR}/target: answers", old,
			"failed   forward           TIME  target {DIR}/no-target: channel refused", "failed   forward           TIME  {DIR}/nowhere/s:{DIR}/target: ",
			"skipped  forward                 remote ", "target 127.0.0.1:{PORT}: answers", "target 127.0.0.1:"+refused+": connect to ",
			"target {DIR}/no-target: connect to {DIR}/no-target: no such file")
		for name, want := range map[string]bool{"new": false, "remote": false, "old": true} {
			if _, err := os.Lstat(filepath.Join(p.home, name)); (err == nil) != want {
				t.Errorf("%s: %v, want it as it was", name, err)
			}
		}
	}
}

// An agent that never answers costs its own time and not the login's.
func TestSilentAgent(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	asked := make(chan struct{}, 10)
	agent, _ := testnet.ServeLocal(t, func(c net.Conn) { asked <- struct{}{}; io.Copy(io.Discard, c) })
	p := withSSHD(t, s, base+"IdentityFile {KEY}\nConnectTimeout 1\nIdentityAgent {AGENT}\n", "[127.0.0.1]:{PORT} {HOSTKEY}\n")
	config := filepath.Join(p.home, ".ssh", "config")
	b, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, []byte(strings.ReplaceAll(string(b), "{AGENT}", agent)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := p.examine(t, Options{})
	wantLines(t, text(t, r), "warning  agent", "logged in as")
	if len(asked) != 1 {
		t.Errorf("the agent was asked %d times, want once", len(asked))
	}
}
