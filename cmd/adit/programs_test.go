//go:build unix

package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// Programs that have an ssh do their work work with adit in its place: as
// `adit ssh` where they take a command line, under the name ssh where they take a
// program only.
func TestProgramsOverAdit(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"Subsystem sftp internal-sftp"}})
	home := t.TempDir()
	config := fmt.Sprintf("Host box\n HostName %s\n Port %d\n User %s\n IdentityFile %s\n UserKnownHostsFile %s\n BatchMode yes\n",
		s.Host(), s.Port(), s.User, s.Key.Path, s.KnownHosts(t))
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".ssh/config", config)
	adit, err := exec.LookPath("adit")
	if err != nil {
		t.Fatal(err)
	}
	ssh := filepath.Join(home, "ssh")
	if err := os.Symlink(adit, ssh); err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 3<<20)
	rand.Read(content)
	write("tree/a file", string(content))
	write("tree/below/b", "b\n")

	// run runs a command line of sh, in a folder of its own.
	run := func(t *testing.T, line string) (dir string) {
		t.Helper()
		dir = t.TempDir()
		cmd := exec.Command("sh", "-e", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+home, "SSH_AUTH_SOCK=", "THERE="+filepath.Join(dir, "there"), "TREE="+filepath.Join(home, "tree"), "SSH="+ssh,
			"GIT_SSH_COMMAND=adit ssh", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return dir
	}
	same := func(t *testing.T, dir string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(dir, "a file")); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v, want the %d that were sent", dir, len(got), err, len(content))
		}
		if got, err := os.ReadFile(filepath.Join(dir, "below/b")); err != nil || string(got) != "b\n" {
			t.Errorf("%s/below/b: %q, %v", dir, got, err)
		}
	}
	for _, tt := range []struct{ name, needs, line string }{
		{"scp", "scp", `scp -q -S "$SSH" -r "$TREE" box:"$THERE"; scp -q -S "$SSH" -r box:"$THERE" back`},
		{"scp, the older protocol", "scp", `scp -O -q -S "$SSH" -r "$TREE" box:"$THERE"; scp -O -q -S "$SSH" -r box:"$THERE" back`},
		{"sftp", "sftp", `printf 'put -r %s %s\nget -r %s back\n' "$TREE" "$THERE" "$THERE" | sftp -q -b - -S "$SSH" box`},
		{"rsync", "rsync", `rsync -a -e "adit ssh" "$TREE/" box:"$THERE"; rsync -a -e "adit ssh" box:"$THERE/" back`},
		{"rsync, a name", "rsync", `rsync -a -e "$SSH" "$TREE/" box:"$THERE"; rsync -a -e "$SSH" box:"$THERE/" back`},
		{"tar", "sshd", `mkdir "$THERE" back; tar -C "$TREE" -c . | adit ssh box "tar -C '$THERE' -x"; adit ssh -n box "tar -C '$THERE' -c ." | tar -C back -x`},
		{"git", "git", `git init -q "$THERE"; cp -r "$TREE/." "$THERE"; git -C "$THERE" add .; git -C "$THERE" commit -q -m first
			git clone -q box:"$THERE" back; cd back; echo more >more; git add more; git commit -q -m second; git push -q origin HEAD:pushed
			test "$(git -C "$THERE" log -1 --format=%s pushed)" = second`},
		{"git, a URL", "git", `git init -q "$THERE"; cp -r "$TREE/." "$THERE"; git -C "$THERE" add .; git -C "$THERE" commit -q -m first; git clone -q "ssh://box$THERE" back`},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			testpeer.Need(t, tt.needs)
			dir := run(t, tt.line)
			same(t, filepath.Join(dir, "there"))
			same(t, filepath.Join(dir, "back"))
		})
	}
}
