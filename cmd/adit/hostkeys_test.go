//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/knownhosts"
)

// TestUpdateHostKeysAsSSH connects with ssh and with adit from the same
// known_hosts files to a server with two keys and compares what becomes of them.
func TestUpdateHostKeysAsSSH(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "ssh", "sshd", "ssh-keygen")
	o := newOracle(t, testpeer.SSHD(t, testpeer.SSHDOptions{HostKeys: []string{"ed25519", "rsa"}, Config: []string{noShell}}))
	changed := 0
	for i, c := range []hostKeyCase{
		{name: "learns", known: "# mine\n{H} {K} note\nelse {O}\n"},
		{name: "learns behind a line without end", known: "else {O}\n{H} {K}"},
		{name: "learns the other", known: "{H} {R}\n"},
		{name: "both known", known: "{H} {K}\n{H} {R}\n"},
		{name: "forgets", known: "{H} {O}\n{H} {K}\n{H} {R}\n"},
		{name: "learns and forgets", known: "{H} {O}\n{H} {K}\nx {OR}\n"},
		{name: "old key has another name", known: "{H} {O}\n{H} {K}\nx {O}\n"},
		{name: "new key has another name", known: "{H} {K}\nx {R}\n"},
		{name: "known key has another name", known: "{H} {K}\nx {K}\n"},
		{name: "hashed", known: "{HASH} {K}\n", options: []string{"HashKnownHosts=yes"}},
		{name: "hashed, then plain", known: "{HASH} {K}\n"},
		{name: "wildcard", known: "[127.*]:* {K}\n"},
		{name: "list", known: "{H},a,b {K}\n"},
		{name: "two names", known: "{H},a {K}\n"},
		{name: "without port", known: "127.0.0.1 {K}\n"},
		{name: "authority beside it", known: "{H} {K}\n@cert-authority {H} {O}\n"},
		{name: "global", global: "{H} {K}\n"},
		{name: "global too", known: "{H} {K}\n", global: "{H} {K}\n"},
		{name: "second file", known: "else {O}\n", second: "{H} {K}\n"},
		{name: "old key in the second file", known: "{H} {K}\n", second: "{H} {O}\nelse {OE}\n"},
		{name: "no first file", second: "{H} {K}\n"},
		{name: "alias", known: "prod {K}\n", options: []string{"HostKeyAlias=prod"}},
		{name: "limited algorithms", known: "{H} {K}\n", options: []string{"HostKeyAlgorithms=ssh-ed25519"}},
		{name: "command", known: "else {O}\n", options: []string{"KnownHostsCommand=/bin/echo %H {K}"}},
		{name: "broken lines", known: "broken\n{H} {K}\n\n  # x\n"},
		{name: "unknown", known: "else {O}\n"},
		{name: "changed", known: "{H} {O}\n"},
		{name: "no", known: "{H} {K}\n", options: []string{"UpdateHostKeys=no"}},
	} {
		c.options = append(c.options, "UpdateHostKeys=yes")
		dir := filepath.Join(o.dir, fmt.Sprint(i))
		var got [2]outcome
		var both sync.WaitGroup
		for k, program := range []string{"ssh", "adit"} {
			both.Go(func() {
				got[k] = o.run(t, program, dir+program, c, "no", "")
				backup, err := os.ReadFile(dir + program + "/known.old")
				got[k].files += fmt.Sprintf("known.old: %v\n%s", err == nil, saltedHash.ReplaceAllString(string(backup), "HASH"))
			})
		}
		both.Wait()
		if got[0] != got[1] {
			t.Errorf("%s:\nadit %s\nssh  %s", c.name, got[1], got[0])
		}
		if strings.Contains(got[1].files, "known.old: true") {
			changed++
		}
	}
	t.Logf("%d files were updated", changed)
	if changed < 8 {
		t.Errorf("%d files were updated, want some", changed)
	}
}

// TestManyAddHostKeys has many processes of adit and ssh write to one file that
// does not exist yet, nor its folder.
func TestManyAddHostKeys(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "ssh", "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"MaxStartups 100"}})
	const each = 12
	dir := t.TempDir()
	folder := filepath.Join(dir, ".ssh")
	known := filepath.Join(folder, "known_hosts")
	run := func(program, alias string) {
		args := []string{"-F", "none", "-n", cheapKex, "-p", fmt.Sprint(s.Port()), "-i", s.Key.Path, "-l", s.User, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new",
			"-o", "UserKnownHostsFile=" + known, "-o", "HostKeyAlias=" + alias, s.Host(), "true"}
		if program == "adit" {
			args = append([]string{"ssh"}, args...)
		}
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "SSH_AUTH_SOCK=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", program, err, out)
		}
	}
	run("adit", "first") // ssh makes only the folder of the person's own file
	if st, err := os.Stat(folder); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", st, err)
	}
	if st, err := os.Stat(known); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", st, err)
	}
	var all sync.WaitGroup
	for i := range each {
		for _, program := range []string{"adit", "ssh"} {
			all.Go(func() { run(program, fmt.Sprintf("%s%d", program, i)) })
		}
	}
	all.Wait()
	db, err := knownhosts.Load(known)
	if err != nil || len(db.Warnings) > 0 || len(db.Entries) != 2*each+1 {
		t.Errorf("%v; %d entries, want %d; torn lines: %v", err, len(db.Entries), 2*each+1, db.Warnings)
	}
	for i := range each {
		for _, program := range []string{"adit", "ssh"} {
			if status, _ := db.Lookup(fmt.Sprintf("%s%d", program, i), s.HostKeys[0]); status != knownhosts.IsKnown {
				t.Errorf("the line of %s%d is lost", program, i)
			}
		}
	}
}

// TestKnownHostsReadOnly: a file that can't be written costs a warning only.
func TestKnownHostsReadOnly(t *testing.T) {
	t.Parallel()
	s := testpeer.XCrypto(t)
	dir := t.TempDir()
	notADir := filepath.Join(dir, "file")
	if err := os.WriteFile(notADir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("adit", cat(s, filepath.Join(notADir, "known_hosts"), "-i", s.Key.Path, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new")...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "SSH_AUTH_SOCK=")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Failed to add the host to the list of known hosts ("+notADir+"/known_hosts)") {
		t.Errorf("%v, want a warning:\n%s", err, out)
	}
}
