//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/rawpipe"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// Stock ssh and paramiko go through two jump hosts, as a pipe and with a
// descriptor; each hop has its own configuration. What fails at a hop is told in
// band, or on standard error where a descriptor was due. No process stays.
func TestConnectJump(t *testing.T) {
	testpeer.Need(t, "ssh", "sshd", "paramiko")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	first := testpeer.SSHD(t, testpeer.SSHDOptions{})
	adit, err := exec.LookPath("adit")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	hop := func(name string, s *testpeer.Server, key, known string) string {
		return fmt.Sprintf("Host %s\nHostName %s\nPort %d\nUser %s\nIdentityFile %s\nUserKnownHostsFile %s\n", name, s.Host(), s.Port(), s.User, key, known)
	}
	text := hop("one", first, first.Key.Path, first.KnownHosts(t)) + hop("two", server, server.Key.Path, server.KnownHosts(t)) +
		hop("unknown", first, first.Key.Path, filepath.Join(dir, "nothing")) + hop("locked", first, server.Key.Path, first.KnownHosts(t)) +
		"Host *\nIdentitiesOnly yes\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ jump, target, want, hint string }{
		{"one", "%h %p", "CONNECTED", ""},
		{"one,two", "%h %p", "CONNECTED", ""},
		{"unknown", "%h %p", "jump host unknown: handshake", "connect to it alone: adit ssh unknown"},
		{"one,locked", "%h %p", "jump host locked: login", ""},
		{"one", "127.0.0.1 1", "jump host one: channel refused", ""},
	} {
		for _, fdpass := range []string{"", " --fdpass"} {
			h := &helped{server: server, dir: t.TempDir(), command: fmt.Sprintf("%s connect%s -F %s -J %s %s", adit, fdpass, config, tt.jump, tt.target)}
			start := startOpenSSH
			if fdpass != "" {
				start = startOpenSSHFdpass
			}
			out, _ := runClient(t, start(t, h), h.dir, func() {})
			if !strings.Contains(out, tt.want) || fdpass != "" && !strings.Contains(out, tt.hint) {
				t.Errorf("%s: it shows\n%s\nwant %q", h.command, out, tt.want)
			}
			if fdpass == "" && tt.want != "CONNECTED" && !strings.Contains(out, "Received disconnect from") {
				t.Errorf("%s: it shows\n%s\nwant it in band", h.command, out)
			}
			awaitNone(t, pumpVerb)
		}
	}
	h := &helped{server: server, dir: t.TempDir(), command: fmt.Sprintf("%s connect -F %s -J one %s %d", adit, config, server.Host(), server.Port())}
	if out, _ := runClient(t, startParamiko(t, h), h.dir, func() {}); !strings.Contains(out, "CONNECTED") {
		t.Errorf("paramiko shows\n%s", out)
	}
}

// A jump host's question is asked by SSH_ASKPASS, also by the process that pumps.
// Without anybody to ask it fails at once, and says for what.
func TestConnectJumpAsks(t *testing.T) {
	testpeer.Need(t, "ssh", "sshd", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	adit, err := exec.LookPath("adit")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key := filepath.Join(dir, "id")
	secret, err := os.ReadFile(server.Key.Path)
	if err == nil {
		err = os.WriteFile(key, secret, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, exec.Command("ssh-keygen", "-q", "-p", "-a", "1", "-N", "opensesame", "-f", key))
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("config", fmt.Sprintf("Host one\nHostName %s\nPort %d\nUser %s\nIdentityFile %s\nUserKnownHostsFile %s\n",
		server.Host(), server.Port(), server.User, key, server.KnownHosts(t)), 0o600)
	asks := write("askpass", "#!/bin/sh\necho \"$1\" >>"+dir+"/asked\necho opensesame\n", 0o700)
	for _, fdpass := range []string{"", " --fdpass"} {
		for _, askpass := range []string{asks, ""} {
			h := &helped{server: server, dir: t.TempDir(), command: fmt.Sprintf("%s connect%s --timeout 1m -F %s -J one %s %s", adit, fdpass, config, server.Host(), strconv.Itoa(server.Port()))}
			start, want := startOpenSSH, "CONNECTED"
			if fdpass != "" {
				start = startOpenSSHFdpass
			}
			cmd := start(t, h)
			if cmd.Env = []string{"SSH_ASKPASS=" + askpass, "SSH_ASKPASS_REQUIRE=force", "DISPLAY=:9"}; askpass == "" {
				cmd.Env[1] = "SSH_ASKPASS_REQUIRE=never"
				want = "nobody answers"
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
			out, took := runClient(t, cmd, h.dir, func() {})
			if !strings.Contains(out, want) || strings.Contains(out, "opensesame") {
				t.Errorf("%s, askpass %q: after %v it shows\n%s\nwant %q", h.command, askpass, took, out, want)
			}
		}
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if want := "Enter passphrase for key '" + key + "': \n"; err != nil || string(asked) != want+want {
		t.Errorf("asked %q, %v, want %q twice", asked, err, want)
	}
	awaitNone(t, pumpVerb)
}

// While a person thinks, the server's time stands still.
func TestTimedQuestion(t *testing.T) {
	dir := t.TempDir()
	asked, answer, program := filepath.Join(dir, "asked"), filepath.Join(dir, "answer"), filepath.Join(dir, "askpass")
	mustRun(t, exec.Command("mkfifo", asked, answer))
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$1\" >"+asked+"\ncat "+answer+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"SSH_ASKPASS": program, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":9"} {
		t.Setenv(name, value)
	}
	const limit = 20 * time.Millisecond
	clock := rawpipe.NewClock(limit)
	begin := clock.Pause() // until it is asked
	ctx, stop := clock.Limit(t.Context())
	defer stop()
	got := make(chan string, 1)
	go func() {
		text, ok, err := (&timed{clock: clock, terminal: terminal{lifetime: ctx}}).Ask(ctx, "who? ", false)
		got <- fmt.Sprintln(text, ok, err)
	}()
	if b, err := os.ReadFile(asked); string(b) != "who? \n" || err != nil {
		t.Fatalf("asked %q, %v", b, err)
	}
	begin()
	<-time.After(5 * limit)
	if ctx.Err() != nil {
		t.Errorf("its time ran out while somebody was asked: %v", context.Cause(ctx))
	}
	if err := os.WriteFile(answer, []byte("me\n"), 0); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != "me true <nil>\n" {
		t.Errorf("got %q, want the answer", text)
	}
	<-ctx.Done() // it runs on
}
