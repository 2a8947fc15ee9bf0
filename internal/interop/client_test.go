package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/bastion"
)

// startBastion starts our server, which exchanges keys every rekeyAt bytes.
func startBastion(t *testing.T, k *keys) int {
	t.Helper()
	auth, err := bastion.LoadKeys(k.path("authorized_keys"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := bastion.New(bastion.Config{HostKeys: []gossh.Signer{k.host}, Authorize: auth.Authorize, RekeyBytes: rekeyAt,
		Log: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(l) })
	t.Cleanup(func() { s.Shutdown(context.Background()); wg.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

// peerClient makes a command that bridges its standard input and output to a
// target through our server.
type peerClient struct {
	name   string
	bridge func(t *testing.T, k *keys, port int, host string, targetPort int) *exec.Cmd
}

var peerClients = []peerClient{
	{"OpenSSH", func(t *testing.T, k *keys, port int, host string, tp int) *exec.Cmd {
		return exec.Command(need(t, "ssh", "openssh-client"), "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
			"-o", "IdentityAgent=none", "-o", "UserKnownHostsFile="+k.path("known_hosts"), "-i", k.path("id_ed25519"),
			"-p", fmt.Sprint(port), "-W", fmt.Sprintf("%s:%d", host, tp), "user@127.0.0.1")
	}},
	{"dropbear", func(t *testing.T, k *keys, port int, host string, tp int) *exec.Cmd {
		need(t, "dbclient", "dropbear-bin")
		if out, err := exec.Command("dropbearconvert", "openssh", "dropbear", k.path("id_ed25519"), k.path("id.db")).CombinedOutput(); err != nil {
			t.Fatalf("dropbearconvert: %v %s", err, out)
		}
		// dbclient reads known_hosts from the home folder only: it gets a home.
		home := t.TempDir()
		os.Mkdir(filepath.Join(home, ".ssh"), 0o700)
		os.WriteFile(filepath.Join(home, ".ssh", "known_hosts"), []byte("127.0.0.1 ssh-ed25519 "+k.hostBlob()+"\n"), 0o600)
		cmd := exec.Command("dbclient", "-y", "-p", fmt.Sprint(port), "-i", k.path("id.db"), "-B", fmt.Sprintf("%s:%d", host, tp), "user@127.0.0.1")
		cmd.Env = append(os.Environ(), "HOME="+home)
		return cmd
	}},
	{"PuTTY", func(t *testing.T, k *keys, port int, host string, tp int) *exec.Cmd {
		plink := need(t, "plink", "putty-tools")
		if _, err := os.Stat(k.path("id.ppk")); err != nil {
			if out, err := exec.Command("puttygen", k.path("id_ed25519"), "-o", k.path("id.ppk")).CombinedOutput(); err != nil {
				t.Fatalf("puttygen: %v %s", err, out)
			}
		}
		return exec.Command(plink, "-batch", "-P", fmt.Sprint(port), "-i", k.path("id.ppk"),
			"-hostkey", gossh.FingerprintSHA256(k.host.PublicKey()), "-nc", fmt.Sprintf("%s:%d", host, tp), "user@127.0.0.1")
	}},
	{"paramiko", func(t *testing.T, k *keys, port int, host string, tp int) *exec.Cmd {
		return exec.Command(needPython(t, "paramiko"), "testdata/paramiko_client.py", fmt.Sprint(port), k.path("id_ed25519"), k.hostBlob(), host, fmt.Sprint(tp))
	}},
	{"asyncssh", func(t *testing.T, k *keys, port int, host string, tp int) *exec.Cmd {
		return exec.Command(needPython(t, "asyncssh"), "testdata/asyncssh_client.py", fmt.Sprint(port), k.path("id_ed25519"), k.hostBlob(), host, fmt.Sprint(tp))
	}},
	{"libssh", func(t *testing.T, k *keys, port int, host string, tp int) *exec.Cmd {
		return exec.Command(buildLibssh(t, k), fmt.Sprint(port), k.path("id_ed25519"), k.path("known_hosts"), host, fmt.Sprint(tp))
	}},
}

// buildLibssh compiles the bridge for libssh.
func buildLibssh(t *testing.T, k *keys) string {
	t.Helper()
	bin := k.path("libssh_client")
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	if _, err := os.Stat("/usr/include/libssh/libssh.h"); err != nil {
		missing(t, "libssh-dev")
	}
	if out, err := exec.Command(need(t, "gcc", "gcc"), "-O1", "-o", bin, "testdata/libssh_client.c", "-lssh").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v %s", err, out)
	}
	return bin
}

// stdio is a running command as a stream.
type stdio struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

func (s stdio) Close() error {
	s.WriteCloser.Close()
	s.cmd.Process.Kill()
	s.cmd.Wait()
	return nil
}

func runStdio(cmd *exec.Cmd) (stdio, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return stdio{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return stdio{}, err
	}
	return stdio{out, in, cmd}, cmd.Start()
}

func TestOurServer(t *testing.T) {
	for _, p := range peerClients {
		t.Run(p.name, func(t *testing.T) {
			k := newKeys(t)
			port := startBastion(t, k)
			k.write(t, "known_hosts", fmt.Sprintf("[127.0.0.1]:%d ssh-ed25519 %s\n", port, k.hostBlob()))
			host, tp := target(t)
			var log bytes.Buffer
			moveBothWays(t, func() (io.ReadWriteCloser, error) {
				cmd := p.bridge(t, k, port, host, tp)
				cmd.Stderr = &log
				return runStdio(cmd)
			})
			cmd := p.bridge(t, k, port, "127.0.0.1", freePort(t))
			if out, err := cmd.CombinedOutput(); err == nil && p.name != "dropbear" {
				t.Errorf("refused target: the client leaves with success: %s", out)
			}
			if t.Failed() {
				t.Logf("client says: %s", log.String())
			}
		})
	}
}

func TestOurServerXCrypto(t *testing.T) {
	k := newKeys(t)
	port := startBastion(t, k)
	host, tp := target(t)
	c, err := gossh.Dial("tcp", fmt.Sprint("127.0.0.1:", port), &gossh.ClientConfig{
		User: "user", Auth: []gossh.AuthMethod{gossh.PublicKeys(k.user)}, HostKeyCallback: gossh.FixedHostKey(k.host.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	moveBothWays(t, func() (io.ReadWriteCloser, error) { return c.Dial("tcp", fmt.Sprintf("%s:%d", host, tp)) })
	if _, err := c.Dial("tcp", fmt.Sprint("127.0.0.1:", freePort(t))); err == nil || !strings.Contains(err.Error(), "Connection refused") {
		t.Errorf("refused target: got %v", err)
	}
}

// TestOurServerOTP uses OTP as its users do: a tunnel, and a raw channel.
func TestOurServerOTP(t *testing.T) {
	escript := need(t, "escript", "erlang-base")
	k := newKeys(t)
	port := startBastion(t, k)
	k.write(t, "known_hosts", fmt.Sprintf("[127.0.0.1]:%d ssh-ed25519 %s\n", port, k.hostBlob()))
	host, tp := target(t)
	local := startPort(t, exec.Command(escript, "testdata/otp.escript", "tunnel", fmt.Sprint(port), k.dir, host, fmt.Sprint(tp)))
	moveBothWays(t, func() (io.ReadWriteCloser, error) { return net.Dial("tcp", fmt.Sprint("127.0.0.1:", local)) })

	n := size()
	out, err := exec.Command(escript, "testdata/otp.escript", "channel", fmt.Sprint(port), k.dir, host, fmt.Sprint(tp), fmt.Sprint(n)).CombinedOutput()
	lines := append([]string{""}, strings.Fields(string(out))...) // reports may come first
	if got := lines[len(lines)-1]; err != nil || got != patternHash(n) {
		t.Errorf("raw channel: got %s, %v, want %s", got, err, patternHash(n))
	}
	out, err = exec.Command(escript, "testdata/otp.escript", "channel", fmt.Sprint(port), k.dir, "127.0.0.1", fmt.Sprint(freePort(t)), "1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Connection refused") {
		t.Errorf("refused target: got %s, %v", out, err)
	}
}
