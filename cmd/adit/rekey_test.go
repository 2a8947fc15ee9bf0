package main

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// rekeys matches what -v says of each key exchange after the first.
var rekeys = regexp.MustCompile(`debug1: SSH2_MSG_NEWKEYS sent\n(?s:.*?)debug1: SSH2_MSG_NEWKEYS sent\n`)

// Data comes back as it was sent, while either side changes the keys.
func TestDataAcrossRekeys(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	const size = 64 << 20
	for _, tt := range []struct {
		name         string
		ours, theirs string // RekeyLimit
		least        int    // key exchanges
	}{
		{"ours", "8M", "default", 8},
		{"theirs", "default", "8M", 8},
		{"both", "4M", "3M", 16},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"RekeyLimit " + tt.theirs}})
			sent, came := sha256.New(), sha256.New()
			var key [32]byte
			cmd := sessionAt(t, s, "-v", "-o", "RekeyLimit="+tt.ours, "HOST", "cat")
			cmd.Stdin = io.TeeReader(io.LimitReader(rand.NewChaCha8(key), size), sent)
			var errs output
			out := counter{Hash: came}
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, errs.text)
			}
			if out.n != size || fmt.Sprintf("%x", sent.Sum(nil)) != fmt.Sprintf("%x", came.Sum(nil)) {
				t.Errorf("%d bytes came back with hash %x, want %d with %x", out.n, came.Sum(nil), size, sent.Sum(nil))
			}
			if n := strings.Count(string(errs.text), "SSH2_MSG_NEWKEYS sent\n"); n < tt.least {
				t.Errorf("%d key exchanges, want %d at least", n, tt.least)
			}
		})
	}
}

// counter is a hash that counts.
type counter struct {
	hash.Hash
	n int
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.Hash.Write(p)
}

// Time alone is a reason, too; ssh and sshd look at it when there is something to
// send or to receive, we need none.
func TestRekeyByTime(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	cmd := sessionAt(t, s, "-v", "-o", "RekeyLimit=default 1s", "HOST", "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var errs output
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := errs.await(rekeys, 0); err != nil {
		t.Error(err)
	}
	io.WriteString(in, "after the second keys")
	in.Close()
	if err := cmd.Wait(); err != nil || out.String() != "after the second keys" {
		t.Errorf("got %q, %v\n%s", out.String(), err, errs.text)
	}
}

// sessionAt returns adit ssh that logs in at s, which is HOST in args.
func sessionAt(t *testing.T, s *testpeer.Server, args ...string) *exec.Cmd {
	t.Helper()
	line := []string{"ssh", "-p", strconv.Itoa(s.Port()), "-i", s.Key.Path, "-o", "UserKnownHostsFile=" + s.KnownHosts(t), "-o", "BatchMode=yes"}
	for _, a := range args {
		if a == "HOST" {
			a = s.User + "@" + s.Host()
		}
		line = append(line, a)
	}
	cmd := exec.Command("adit", line...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")
	return cmd
}
