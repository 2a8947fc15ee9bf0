package testpeer

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
)

// pinentry is a person who wants no passphrase, and has no objections (Assuan; see
// pinentry's manual).
const pinentry = `#!/bin/sh
echo OK at your service
while read -r verb rest; do
  echo OK
  test "$verb" != BYE || exit
done
`

// SSHAgent starts OpenSSH's ssh-agent, or the one that ADIT_SSH_AGENT names, and
// returns the path of its socket. It has no keys, has nobody to confirm with, and uses
// the helpers and the token that SSH_SK_HELPER, SSH_PKCS11_HELPER and SOFTHSM2_CONF
// name.
func SSHAgent(t testing.TB) (path string) {
	t.Helper()
	program := os.Getenv("ADIT_SSH_AGENT")
	if program == "" {
		program = find(t, "ssh-agent")
	}
	cmd := exec.Command(program, "-D", "-a", filepath.Join(testnet.SocketDir(t), "agent"))
	cmd.Env = cleanEnv(t.TempDir(), "SSH_ASKPASS=/nonexistent")
	for _, name := range []string{"SOFTHSM2_CONF", "SSH_SK_HELPER", "SSH_PKCS11_HELPER"} {
		if value, set := os.LookupEnv(name); set {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return socketOf(t, start(t, "ssh-agent", cmd))
}

var socketReady = regexp.MustCompile(`SSH_AUTH_SOCK=([^;\s]+)`)

// GPGAgent starts GnuPG's agent with its support for SSH and returns the path of its
// socket. It has no keys, and takes some.
func GPGAgent(t testing.TB) (path string) {
	t.Helper()
	program := find(t, "gpg-agent")
	home := privateDir(t) // the path of a socket in t's might be too long
	person := filepath.Join(home, "person")
	if err := os.WriteFile(person, []byte(pinentry), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(home, "gpg-agent.conf"), "enable-ssh-support\npinentry-program "+person+"\n")
	cmd := exec.Command(program, "--homedir", home, "--no-detach", "--daemon")
	cmd.Env = cleanEnv(home, "GNUPGHOME="+home)
	return socketOf(t, start(t, "gpg-agent", cmd))
}

// Pageant starts PuTTY's agent, which needs no display, and returns the path of its
// socket. It has no keys.
func Pageant(t testing.TB) (path string) {
	t.Helper()
	cmd := exec.Command(find(t, "pageant"), "--exec", "sh", "-c", "echo SSH_AUTH_SOCK=$SSH_AUTH_SOCK; exec cat")
	cmd.Env = cleanEnv(t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "pageant", cmd)
	t.Cleanup(func() { // it removes its socket, which is below /tmp, when it ends by itself
		in.Close()
		<-p.ended
	})
	return socketOf(t, p)
}

// socketOf waits until an agent says where it listens.
func socketOf(t testing.TB, p *process) string {
	t.Helper()
	m, err := p.waitLog(socketReady)
	if err != nil {
		t.Fatal(err)
	}
	return m[1]
}
