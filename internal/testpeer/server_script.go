package testpeer

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// Scripts say READY and their port when they listen.
var scriptReady = regexp.MustCompile(`(?m)^READY (\d+)\r?$`)

//go:embed scripts/asyncssh_server.py
var asyncsshServer string

// AsyncSSH starts a Python asyncssh server. It does not look at the user's name,
// but that the password of "expired" must be changed.
func AsyncSSH(t testing.TB) *Server {
	t.Helper()
	python := find(t, "asyncssh")
	dir := t.TempDir()
	s := &Server{Name: "asyncssh", Forwards: true, Execs: true}
	s.User, s.Key, s.Password = "tester", NewKey(t, "ed25519"), password
	host := newKeyAt(t, filepath.Join(dir, "host"), "ed25519")
	s.HostKeys = []gossh.PublicKey{host.Public}
	script := filepath.Join(dir, "server.py")
	writeFile(t, script, asyncsshServer)
	s.startScript(t, exec.Command(python, "-W", "ignore", script, host.Path, s.Key.Path+".pub", s.Password))
	return s
}

//go:embed scripts/otp_server.erl
var otpServer string

// OTP starts the SSH daemon of Erlang/OTP.
func OTP(t testing.TB) *Server {
	t.Helper()
	erl := find(t, "otp")
	dir := t.TempDir()
	s := &Server{Name: "otp", Forwards: true, Execs: true}
	s.User, s.Key, s.Password = "tester", NewKey(t, "ed25519"), password
	host := newKeyAt(t, filepath.Join(dir, "ssh_host_ed25519_key"), "ed25519")
	s.HostKeys = []gossh.PublicKey{host.Public}
	writeFile(t, filepath.Join(dir, "authorized_keys"), s.Key.Line()+"\n")
	s.startScript(t, erlang(t, erl, "otp_server", otpServer, dir, s.Password))
	return s
}

// erlang is a command that compiles a module and calls its main/1.
func erlang(t testing.TB, erl, module, source string, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, module+".erl"), source)
	// Erlang's virtual machine starts quicker and leaves the cores to others
	// with one scheduler that does not spin.
	const start = `{ok, M} = compile:file(hd(init:get_plain_arguments()), [{outdir, "."}]), M:main(tl(init:get_plain_arguments())).`
	cmd := exec.Command(erl, append([]string{"-noinput", "-boot", "start_sasl", "+S", "2", "+sbwt", "none",
		"-kernel", "logger_level", "error", "-eval", start, "-extra", module}, args...)...)
	cmd.Dir = dir
	cmd.Env = cleanEnv(dir)
	return cmd
}

func (s *Server) startScript(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if cmd.Env == nil {
		cmd.Env = cleanEnv(t.TempDir(), "PYTHONUNBUFFERED=1")
	}
	cmd.Stdin = openNull(t)
	p := start(t, s.Name, cmd)
	m, err := p.waitLog(scriptReady)
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = "127.0.0.1:" + m[1]
	s.log = &p.log
}

func openNull(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
