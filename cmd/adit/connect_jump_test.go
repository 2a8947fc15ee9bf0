//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

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

// A jump host's question is asked by SSH_ASKPASS, also by the process that pumps,
// and --timeout stands still while the person thinks. Without anybody to ask it
// fails at once, and says for what.
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
	mustRun(t, exec.Command("ssh-keygen", "-q", "-p", "-N", "opensesame", "-f", key))
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("config", fmt.Sprintf("Host one\nHostName %s\nPort %d\nUser %s\nIdentityFile %s\nUserKnownHostsFile %s\n",
		server.Host(), server.Port(), server.User, key, server.KnownHosts(t)), 0o600)
	// The person takes longer than --timeout lets the server take.
	asks := write("askpass", "#!/bin/sh\necho \"$1\" >>"+dir+"/asked\nsleep 2\necho opensesame\n", 0o700)
	for _, fdpass := range []string{"", " --fdpass"} {
		for _, askpass := range []string{asks, ""} {
			h := &helped{server: server, dir: t.TempDir(), command: fmt.Sprintf("%s connect%s --timeout 1500ms -F %s -J one %s %s", adit, fdpass, config, server.Host(), strconv.Itoa(server.Port()))}
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
