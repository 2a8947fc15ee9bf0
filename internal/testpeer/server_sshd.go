package testpeer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// SSHDOptions change what SSHD starts. The zero value is OpenSSH's own defaults
// with an Ed25519 host key and publickey authentication only.
type SSHDOptions struct {
	// HostKeys are types from KeyTypes; none means ed25519.
	HostKeys []string
	// LogLevel is sshd's; empty means VERBOSE. DEBUG1 and above name messages.
	LogLevel string
	// UserKey is the key to let in; nil means a new Ed25519 key.
	UserKey *Key
	// Passwords has sshd ask PAM for Server.Password, by the methods password
	// and keyboard-interactive. With ExpiredPasswords PAM wants the password to
	// be changed with every login.
	Passwords, ExpiredPasswords bool
	// HostCertificate has a new authority sign the first host key.
	HostCertificate bool
	// Config are lines of sshd_config that go before all others; sshd takes the
	// first value it sees.
	Config []string
}

var sshdReady = regexp.MustCompile(`Server listening on 127\.0\.0\.1 port \d+`)

// SSHD starts OpenSSH's server on a loopback port, as root or not. It lets the
// current user in.
func SSHD(t testing.TB, o SSHDOptions) *Server {
	t.Helper()
	sshd := find(t, "sshd")
	dir := t.TempDir()
	s := &Server{Name: "sshd", Forwards: true, Execs: true}
	s.User = currentUser(t).Username
	if s.Key = o.UserKey; s.Key == nil {
		s.Key = NewKey(t, "ed25519")
	}

	config := append([]string(nil), o.Config...)
	env := cleanEnv(dir)
	if o.Passwords || o.ExpiredPasswords {
		s.Password = password
		env = append(env, pamEnv(t, s.User, o.ExpiredPasswords)...)
		config = append(config, "UsePAM yes", "PasswordAuthentication yes", "KbdInteractiveAuthentication yes")
	}
	if len(o.HostKeys) == 0 {
		o.HostKeys = []string{"ed25519"}
	}
	for i, typ := range o.HostKeys {
		key := newKeyAt(t, filepath.Join(dir, "host_"+typ), typ)
		s.HostKeys = append(s.HostKeys, key.Public)
		config = append(config, "HostKey "+key.Path)
		if o.HostCertificate && i == 0 {
			ca := NewKey(t, "ed25519")
			key.Certify(t, ca, "host", []string{"127.0.0.1", "localhost"})
			s.Authority = ca.Public
			config = append(config, "HostCertificate "+key.Path+"-cert.pub")
		}
	}
	authorized := filepath.Join(dir, "authorized_keys")
	writeFile(t, authorized, s.Key.Line()+"\n")
	s.authorize = appendTo(authorized)
	if o.LogLevel == "" {
		o.LogLevel = "VERBOSE"
	}
	config = append(config,
		"AuthorizedKeysFile "+authorized,
		"LogLevel "+o.LogLevel,
		"PidFile none",
		"PermitRootLogin yes",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"UsePAM no",
		// The temporary directory may lie below one that others can write to.
		"StrictModes no",
		"PrintMotd no",
		"PrintLastLog no",
		// What our person's shell does and says at its start is no part of a test.
		"SetEnv HOME="+t.TempDir(),
	)
	file := filepath.Join(dir, "sshd_config")
	writeFile(t, file, strings.Join(config, "\n")+"\n")

	if os.Geteuid() == 0 {
		// Its privilege separation wants this directory, which lies on a
		// tmpfs that may be fresh.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p, port := startOnPort(t, "sshd", sshdReady, func(port int) *exec.Cmd {
		// sshd re-executes itself and insists on an absolute path.
		cmd := exec.Command(sshd, "-D", "-e", "-f", file, "-o", fmt.Sprintf("Port=%d", port), "-o", "ListenAddress=127.0.0.1")
		cmd.Env = env
		return cmd
	})
	s.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	s.log = &p.log
	return s
}
