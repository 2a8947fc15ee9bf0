package interop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
)

// peerServer is another implementation's server on loopback.
type peerServer struct {
	name  string
	start func(t *testing.T, k *keys) (port int)
}

var peerServers = []peerServer{
	{"OpenSSH", startSSHD},
	{"dropbear", startDropbear},
	{"asyncssh", func(t *testing.T, k *keys) int {
		py := needPython(t, "asyncssh")
		return startPort(t, exec.Command(py, "testdata/asyncssh_server.py", k.path("ssh_host_ed25519_key"), k.path("authorized_keys")))
	}},
	{"x/crypto", startXCrypto},
	{"Erlang OTP", func(t *testing.T, k *keys) int {
		return startPort(t, exec.Command(need(t, "escript", "erlang-base"), "testdata/otp.escript", "server", k.dir))
	}},
}

func startSSHD(t *testing.T, k *keys) int {
	sshd := need(t, "sshd", "openssh-server")
	if os.Getuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755)
	}
	port := freePort(t)
	k.write(t, "sshd_config", fmt.Sprintf(`Port %d
ListenAddress 127.0.0.1
HostKey %s
AuthorizedKeysFile %s
StrictModes no
UsePAM no
PidFile none
PermitRootLogin yes
`, port, k.path("ssh_host_ed25519_key"), k.path("authorized_keys")))
	start(t, exec.Command(sshd, "-D", "-e", "-f", k.path("sshd_config")))
	waitBanner(t, port)
	return port
}

// startDropbear needs a home folder with the key in it: the tests' own cannot be
// named, so it serves the account that runs them, with -D.
func startDropbear(t *testing.T, k *keys) int {
	db := need(t, "dropbear", "dropbear-bin")
	if out, err := exec.Command(need(t, "dropbearconvert", "dropbear-bin"), "openssh", "dropbear",
		k.path("ssh_host_ed25519_key"), k.path("host.db")).CombinedOutput(); err != nil {
		t.Fatalf("dropbearconvert: %v %s", err, out)
	}
	if help, _ := exec.Command(db, "-h").CombinedOutput(); !strings.Contains(string(help), "-D ") {
		// Before 2024 dropbear reads ~/.ssh/authorized_keys only: give it a home
		// of the test's own by way of a shadow account database is not possible,
		// so the key is put where it looks, and taken away again.
		lendHome(t, k)
		port := freePort(t)
		start(t, exec.Command(db, "-F", "-E", "-s", "-p", fmt.Sprint("127.0.0.1:", port), "-r", k.path("host.db")))
		waitBanner(t, port)
		return port
	}
	port := freePort(t)
	start(t, exec.Command(db, "-F", "-E", "-s", "-D", k.dir, "-p", fmt.Sprint("127.0.0.1:", port), "-r", k.path("host.db")))
	waitBanner(t, port)
	return port
}

func account(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

func TestOurClient(t *testing.T) {
	for _, p := range peerServers {
		t.Run(p.name, func(t *testing.T) {
			k := newKeys(t)
			addr := fmt.Sprintf("%s@127.0.0.1:%d", account(t), p.start(t, k))
			host, port := target(t)
			c, err := adit.Dial(t.Context(), addr, &adit.Config{
				CheckHostKey: adit.FixedHostKey(k.host.PublicKey()), Keys: adit.Keys(k.user), RekeyBytes: rekeyAt,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, version := c.Versions()
			t.Logf("server %s", version)
			moveBothWays(t, func() (io.ReadWriteCloser, error) {
				return c.DialContext(t.Context(), "tcp", net.JoinHostPort(host, fmt.Sprint(port)))
			})
			_, err = c.DialContext(t.Context(), "tcp", fmt.Sprint("127.0.0.1:", freePort(t)))
			if _, ok := errors.AsType[*adit.OpenError](err); !ok {
				t.Errorf("refused target: got %v, want OpenError", err)
			}
		})
	}
}

// lendHome puts the user's key where dropbear looks for it, for the test's time.
func lendHome(t *testing.T, k *keys) {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CI") == "" && os.Getenv("ADIT_LEND_HOME") == "" {
		t.Skip("this dropbear reads ~/.ssh/authorized_keys only; set ADIT_LEND_HOME=1 to let the test add a key there for its time")
	}
	dir := u.HomeDir + "/.ssh"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := dir + "/authorized_keys"
	before, err := os.ReadFile(path)
	existed := err == nil
	line, _ := os.ReadFile(k.path("authorized_keys"))
	if err := os.WriteFile(path, append(append(before[:len(before):len(before)], '\n'), line...), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if existed {
			os.WriteFile(path, before, 0o600)
		} else {
			os.Remove(path)
		}
	})
}

// startXCrypto serves direct-tcpip with golang.org/x/crypto/ssh.
func startXCrypto(t *testing.T, k *keys) int {
	t.Helper()
	cfg := &gossh.ServerConfig{PublicKeyCallback: func(_ gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
		if string(key.Marshal()) != string(k.user.PublicKey().Marshal()) {
			return nil, errors.New("another key")
		}
		return nil, nil
	}}
	cfg.AddHostKey(k.host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		_, chans, reqs, err := gossh.NewServerConn(nc, cfg)
		if err != nil {
			t.Errorf("x/crypto: %v", err)
			return
		}
		wg.Go(func() { gossh.DiscardRequests(reqs) })
		for nch := range chans {
			wg.Go(func() { forwardXCrypto(nch) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

func forwardXCrypto(nch gossh.NewChannel) {
	var d struct {
		Host       string
		Port       uint32
		Originator string
		OPort      uint32
	}
	if err := gossh.Unmarshal(nch.ExtraData(), &d); err != nil {
		nch.Reject(gossh.ConnectionFailed, "malformed")
		return
	}
	out, err := net.Dial("tcp", net.JoinHostPort(d.Host, fmt.Sprint(d.Port)))
	if err != nil {
		nch.Reject(gossh.ConnectionFailed, err.Error())
		return
	}
	defer out.Close()
	ch, reqs, err := nch.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	go gossh.DiscardRequests(reqs) // ends with the channel
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(out, ch)
		out.(*net.TCPConn).CloseWrite()
	})
	io.Copy(ch, out)
	ch.CloseWrite()
	wg.Wait()
}
