package testpeer

import (
	"fmt"
	"net"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"
)

// Proxy is a running proxy server.
type Proxy struct {
	Addr string
	// User and Password are let in; both are empty when nobody is asked.
	User, Password string
	log            *logBuffer
}

// Log returns what the proxy said so far.
func (p *Proxy) Log() string { return p.log.String() }

// MicroSocks starts microsocks, a SOCKS5 proxy. With a user it wants RFC 1929.
func MicroSocks(t testing.TB, user, password string) *Proxy {
	t.Helper()
	path := find(t, "microsocks")
	return startProxy(t, "microsocks", user, password, func(port int) *exec.Cmd {
		args := []string{"-i", "127.0.0.1", "-p", fmt.Sprint(port)}
		if user != "" {
			args = append(args, "-u", user, "-P", password)
		}
		return exec.Command(path, args...)
	})
}

// Tinyproxy starts tinyproxy, which takes HTTP CONNECT. With a user it wants a
// Basic login.
func Tinyproxy(t testing.TB, user, password string) *Proxy {
	t.Helper()
	path, dir := find(t, "tinyproxy"), t.TempDir()
	return startProxy(t, "tinyproxy", user, password, func(port int) *exec.Cmd {
		text := fmt.Sprintf("Port %d\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\n", port)
		if user != "" {
			text += fmt.Sprintf("BasicAuth %s %s\n", user, password)
		}
		conf := filepath.Join(dir, "tinyproxy.conf")
		writeFile(t, conf, text)
		return exec.Command(path, "-d", "-c", conf)
	})
}

// Dante starts Dante's danted, which speaks SOCKS4, without its names, and
// SOCKS5, and asks nobody.
func Dante(t testing.TB) *Proxy {
	t.Helper()
	path, dir := find(t, "danted"), t.TempDir()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return startProxy(t, "danted", "", "", func(port int) *exec.Cmd {
		conf := filepath.Join(dir, "danted.conf")
		writeFile(t, conf, fmt.Sprintf(`logoutput: stderr
internal: 127.0.0.1 port = %d
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: %[2]s
user.unprivileged: %[2]s
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`, port, u.Username))
		return exec.Command(path, "-f", conf, "-p", filepath.Join(dir, "pid"), "-N", "1")
	})
}

// startProxy starts a proxy and connects until it listens. When it ends at once,
// its port may have been taken: then it tries another.
func startProxy(t testing.TB, name, user, password string, command func(port int) *exec.Cmd) *Proxy {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for try := 1; ; try++ {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, name, command(port))
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		for ended := false; !ended; {
			if c, err := net.Dial("tcp4", addr); err == nil {
				c.Close()
				return &Proxy{Addr: addr, User: user, Password: password, log: &p.log}
			}
			select {
			case <-p.ended:
				ended = true
			case <-tick.C:
			case <-timeout:
				t.Fatalf("%s does not listen; it says\n%s", name, p.log.String())
			}
		}
		if try == 5 {
			t.Fatalf("%s does not start: %v; it says\n%s", name, p.err, p.log.String())
		}
	}
}
