package adit_test

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// loginTo logs in to a peer.
func loginTo(t testing.TB, s *testpeer.Server) *adit.Client {
	t.Helper()
	return dial(t, s.Addr, &adit.Config{User: s.User, CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Keys: adit.Keys(s.Key.Signer)})
}

func forwardSpec(t testing.TB, c *adit.Client, arg string, cfg forward.Config) *adit.Forwarding {
	t.Helper()
	spec, err := forward.ParseRemote(arg)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.ForwardSpec(t.Context(), spec, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// connectTo is somebody at the server who connects.
func connectTo(t testing.TB, network, address string) testpeer.HalfClose {
	t.Helper()
	c, err := net.DialTimeout(network, address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { c.Close() })
	return c.(testpeer.HalfClose)
}

// echo sends back what it gets; EOF too, after the last byte.
func echo[C testpeer.HalfClose](c C) {
	io.Copy(c, c)
	c.CloseWrite()
}

// inetOnly has sshd listen at 127.0.0.1 only. Else it chooses a port for [::1], and
// is content if somebody else has that at 127.0.0.1 (channels.c), as on a machine
// where many tests run.
const inetOnly = "AddressFamily inet"

var remoteServers = map[string]func(t testing.TB) *testpeer.Server{
	"sshd": func(t testing.TB) *testpeer.Server {
		return testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{inetOnly}})
	},
	"dropbear": testpeer.Dropbear,
}

// -R and Listen with real servers: bytes both ways with half-close, what a
// refused target looks like, and the port free again after Close.
func TestRemoteForwardPeers(t *testing.T) {
	for name, start := range remoteServers {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			census(t)
			c := loginTo(t, s)
			f := forwardSpec(t, c, "0:"+testpeer.EchoTarget(t).Addr, forward.Config{})
			at := f.Addr().String()
			for range 3 {
				if err := testpeer.Echo(connectTo(t, "tcp", at), 1<<20); err != nil {
					t.Errorf("-R: %v", err)
				}
			}
			if err := testpeer.Upload(connectTo(t, "tcp", forwardSpec(t, c, "0:"+testpeer.HashTarget(t).Addr, forward.Config{}).Addr().String()), 8<<20); err != nil {
				t.Errorf("-R: %v", err)
			}
			refused := forwardSpec(t, c, "0:"+testpeer.RefusedAddr(t), forward.Config{})
			if b, err := io.ReadAll(connectTo(t, "tcp", refused.Addr().String())); len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("a refused target reads %q, %v", b, err)
			}

			f.Close()
			if name == "dropbear" { // 2022.83 heeds no cancel, OpenSSH's client's neither
				connectTo(t, "tcp", at).Read(make([]byte, 1)) // and what comes is refused
				return
			}
			// The server stops listening before it heeds anything that is sent later.
			l, err := c.Listen(t.Context(), "tcp", strings.Replace(at, "127.0.0.1", "localhost", 1))
			if err != nil {
				t.Fatal(err)
			}
			if l.Addr().String() != at {
				t.Errorf("listens on %v, want %s", l.Addr(), at)
			}
			ended := testnet.Serve(t, l, echo[*adit.Conn])
			if err := testpeer.Echo(connectTo(t, "tcp", at), 1<<20); err != nil {
				t.Errorf("Listen: %v", err)
			}
			if _, err := c.Listen(t.Context(), "tcp", "127.0.0.1"+at[strings.LastIndexByte(at, ':'):]); err == nil {
				t.Error("a port is listened on twice")
			} else if _, ok := errors.AsType[*adit.RemoteListenError](err); !ok {
				t.Errorf("a taken port: %v", err)
			}
			ended()
			c.SendRequest(t.Context(), "keepalive@openssh.com", true, nil) // the server is through with the cancel
			if nc, err := net.Dial("tcp", at); err == nil {
				nc.Close()
				t.Errorf("the server listens on %s after Close", at)
			}
		})
	}
}

// -R with a port alone is a proxy for the server's people.
func TestRemoteProxyPeers(t *testing.T) {
	testpeer.Need(t, "curl")
	for name, start := range remoteServers {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			census(t)
			c := loginTo(t, s)
			web := service(t)
			host := strings.TrimPrefix(web.URL, "http://")
			all := forwardSpec(t, c, "0", forward.Config{})
			some := forwardSpec(t, c, "0", forward.Config{Permit: forward.Permit{"db:5432"}})
			for _, proxy := range []string{"socks4a://", "socks5h://", "http://"} {
				run := func(f *adit.Forwarding) string {
					out, _ := exec.Command("curl", "-sS", "-m", "60", "-p", "-x", proxy+f.Addr().String(), web.URL+"/R").CombinedOutput()
					return string(out)
				}
				if out := run(all); out != "private page /R" {
					t.Errorf("%s: %q", proxy, out)
				}
				if out := run(some); !strings.HasPrefix(out, "curl: (") {
					t.Errorf("%s to %s, which is not permitted: %q", proxy, host, out)
				}
			}
		})
	}
}

// Unix sockets: from each kind of listener to each kind of target, both ways.
func TestStreamlocalPeer(t *testing.T) {
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{inetOnly}})
	census(t)
	c := loginTo(t, s)
	dir := testnet.SocketDir(t)
	path, _ := testnet.ServeUnix(t, echo[*net.UnixConn])
	tcp := testpeer.EchoTarget(t).Addr
	for i, arg := range []string{"0:" + path, dir + "/in:" + path, dir + "/in:" + tcp} {
		for _, remote := range []bool{false, true} {
			spec, err := forward.ParseLocal(arg)
			if err != nil {
				t.Fatal(err)
			}
			spec.Remote = remote
			if remote && spec.ListenPath != "" {
				spec.ListenPath += string(rune('0' + i)) // sshd leaves its sockets
			}
			f, err := c.ForwardSpec(t.Context(), spec, forward.Config{})
			if err != nil {
				t.Fatalf("%s, remote %v: %v", arg, remote, err)
			}
			for range 2 {
				if err := testpeer.Echo(connectTo(t, f.Addr().Network(), f.Addr().String()), 1<<20); err != nil {
					t.Errorf("%s, remote %v: %v", arg, remote, err)
				}
			}
			f.Close()
		}
	}
	nc, err := c.DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := testpeer.Echo(nc.(*adit.Conn), 1<<20); err != nil {
		t.Errorf("DialContext: %v", err)
	}
	rl, err := c.Listen(t.Context(), "unix", dir+"/listen")
	if err != nil {
		t.Fatal(err)
	}
	ended := testnet.Serve(t, rl, echo[*adit.Conn])
	if err := testpeer.Echo(connectTo(t, "unix", dir+"/listen"), 1<<20); err != nil {
		t.Errorf("Listen: %v", err)
	}
	ended()
	if _, err := c.Listen(t.Context(), "unix", path); err == nil {
		t.Error("a path that is taken is listened on")
	}
}

// What sshd makes of bind addresses is for its GatewayPorts to say.
func TestGatewayPorts(t *testing.T) {
	for config, reached := range map[string]map[string]bool{ // by bind address: whether 127.0.0.2 leads there
		"no":              {"": false, "*:": false, "localhost:": false, "127.0.0.1:": false},
		"yes":             {"": true, "*:": true, "localhost:": true, "127.0.0.1:": true},
		"clientspecified": {"": false, "*:": true, "localhost:": false, "127.0.0.1:": false, "0.0.0.0:": true},
	} {
		t.Run(config, func(t *testing.T) {
			s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"GatewayPorts " + config, inetOnly}})
			census(t)
			c := loginTo(t, s)
			echo := testpeer.EchoTarget(t).Addr
			for bind, want := range reached {
				f := forwardSpec(t, c, bind+"0:"+echo, forward.Config{})
				_, port, _ := net.SplitHostPort(f.Addr().String())
				if err := testpeer.Echo(connectTo(t, "tcp", "127.0.0.1:"+port), 1<<10); err != nil {
					t.Errorf("%q: %v", bind, err)
				}
				nc, err := net.Dial("tcp", "127.0.0.2:"+port)
				if err == nil {
					err = testpeer.Echo(nc.(*net.TCPConn), 1<<10)
					nc.Close()
				}
				if (err == nil) != want {
					t.Errorf("%q at 127.0.0.2: %v, want it reached: %v", bind, err, want)
				}
				f.Close()
			}
		})
	}
}

func TestRemoteForwardForbidden(t *testing.T) {
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"AllowTcpForwarding local", "AllowStreamLocalForwarding no"}})
	census(t)
	c := loginTo(t, s)
	for network, address := range map[string]string{"tcp": "localhost:0", "unix": filepath.Join(t.TempDir(), "s")} {
		_, err := c.Listen(t.Context(), network, address)
		if _, ok := errors.AsType[*adit.RemoteListenError](err); !ok {
			t.Errorf("%s: %v", network, err)
		}
	}
}
