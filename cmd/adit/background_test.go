//go:build unix

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// runBackground starts adit -f and returns its exit status and all that it said,
// which has an end only if the background holds nothing open.
func runBackground(t *testing.T, home string, args ...string) (status int, out, errs string) {
	t.Helper()
	cmd := exec.Command("adit", append([]string{"ssh", "-f"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+home, "SSH_AUTH_SOCK=", "SHELL=/bin/sh")
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	cmd.Stdin = strings.NewReader("never read")
	cmd.WaitDelay = patience
	lock, held, err := os.Pipe() // as a script might have a lock open
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	cmd.ExtraFiles = []*os.File{held, held}
	err = cmd.Run()
	held.Close()
	status, err = exitStatusOf(err)
	if err != nil {
		t.Fatalf("%v: standard output or error is held open", err)
	}
	lock.SetReadDeadline(time.Now().Add(patience))
	if _, err := lock.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("what was open before is held open: %v", err)
	}
	return status, o.String(), e.String()
}

func TestBackground(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	known := s.KnownHosts(t)
	login := func(more ...string) []string {
		args := []string{"-p", strconv.Itoa(s.Port()), "-i", s.Key.Path, "-o", "UserKnownHostsFile=" + known, "-o", "BatchMode=yes"}
		return append(append(args, more...), s.User+"@"+s.Host())
	}

	t.Run("a forward", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		pidFile, socket := filepath.Join(dir, "pid"), filepath.Join(dir, "echo.sock")
		status, out, errs := runBackground(t, dir, login("-N", "-L", socket+":"+testpeer.EchoTarget(t).Addr,
			"-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo $PPID >'"+pidFile+"'")...)
		if status != 0 || out+errs != "" {
			t.Fatalf("exit status %d, want 0 without a word: %s%s", status, out, errs)
		}
		nc, err := net.Dial("unix", socket) // it is there at once
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		io.WriteString(nc, "over there")
		if _, err := io.ReadFull(nc, make([]byte, len("over there"))); err != nil {
			t.Errorf("the forward: %v", err)
		}
		text, err := os.ReadFile(pidFile)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := unix.Getsid(0)
		if err != nil {
			t.Fatal(err)
		}
		if theirs, err := unix.Getsid(pid); err != nil || theirs == ours {
			t.Errorf("it is in session %d, %v, which is ours: want one of its own", theirs, err)
		}
		defer syscall.Kill(pid, syscall.SIGKILL)
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, nc) // until it has ended
	})

	t.Run("the configuration is read once", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		config, seen := filepath.Join(dir, "config"), filepath.Join(dir, "seen")
		if err := os.WriteFile(config, []byte("Match exec \"echo read >>'"+seen+"'\"\nMatch all\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"-F", config}, login()...)
		if status, out, errs := runBackground(t, dir, append(args, "true")...); status != 0 {
			t.Fatalf("exit status %d: %s%s", status, out, errs)
		}
		if text, err := os.ReadFile(seen); err != nil || string(text) != "read\n" {
			t.Errorf("read %q, %v, want once", text, err)
		}
	})

	t.Run("a command", func(t *testing.T) {
		t.Parallel()
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		args := append(login(), "echo began; read line; echo then $line; cat '"+fifo+"'; echo over >&2")
		cmd := exec.Command("adit", append([]string{"ssh", "-f"}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		errs, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if state, err := cmd.Process.Wait(); err != nil || state.ExitCode() != 0 { // the first program ends, the streams do not
			t.Fatalf("-f ended with %v, %v", state, err)
		}
		if err := os.WriteFile(fifo, []byte("from the background\n"), 0); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(out); string(got) != "began\nthen\nfrom the background\n" {
			t.Errorf("standard output has %q, %v", got, err)
		}
		if got, err := io.ReadAll(errs); string(got) != "over\n" {
			t.Errorf("standard error has %q, %v", got, err)
		}
	})

	for _, tt := range []struct {
		name   string
		args   []string
		status int
		errs   string
	}{
		{"no login", login("-o", "IdentityFile=none", "-l", "nobody-here", "-N"), 255, "Permission denied"},
		{"no forward", login("-N", "-o", "ExitOnForwardFailure=yes", "-L", "/nothere/socket:a:1"), 255, "/nothere/socket"},
		{"no remote forward", login("-N", "-o", "ExitOnForwardFailure=yes", "-R", "/nothere/socket:a:1"), 255, "remote port forwarding failed for listen path /nothere/socket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if status, _, errs := runBackground(t, t.TempDir(), tt.args...); status != tt.status || !strings.Contains(errs, tt.errs) {
				t.Errorf("exit status %d, want %d and %q:\n%s", status, tt.status, tt.errs, errs)
			}
		})
	}
}

// A person answers before adit leaves the terminal, and may give up.
func TestBackgroundAsks(t *testing.T) {
	t.Parallel()
	const secret = "swordfish"
	addr, _ := passwordServer(t, secret)
	known := filepath.Join(t.TempDir(), "known_hosts")
	line := []string{"ssh", "-f", "-p", portIn(addr), "-o", "UserKnownHostsFile=" + known, "-o", "StrictHostKeyChecking=accept-new",
		"-o", "PubkeyAuthentication=no", "-o", "KbdInteractiveAuthentication=no", "tester@127.0.0.1", "nothing"}
	c := sit(t, t.TempDir(), line...)
	c.ask(`'s password: `, secret)
	c.leaves(0)
	c = sit(t, t.TempDir(), line...)
	c.ask(`'s password: `, ctrlC)
	c.leaves(255)
}
