package setup

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/testnet/dialtest"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/sshconfig"
)

// written is a configuration file whose path the route has, as with -F.
func written(t *testing.T, host, text string) (*Options, error) {
	t.Helper()
	home := t.TempDir()
	path := filepath.Join(home, "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(t.Context(), sshconfig.Options{Host: host, File: path, Home: home})
	if err != nil {
		return nil, err
	}
	o := &Options{Notice: func(text string) { t.Log(text) }}
	o.Route.File = path
	return o, o.Apply(c)
}

func connect(t *testing.T, o *Options) (*adit.Client, error) {
	t.Helper()
	cfg, err := o.Config()
	if err != nil {
		return nil, err
	}
	c, err := o.Dial(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// block is a server in a configuration file.
func block(t *testing.T, name string, s *testpeer.Server) string {
	return fmt.Sprintf("Host %s\nHostName %s\nPort %d\nUser %s\nIdentityFile %s\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile %s\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\nBatchMode yes\n",
		name, s.Host(), s.Port(), s.User, s.Key.Path, s.KnownHosts(t))
}

// Three jump hosts, each with a key, a known_hosts file and a way of its own.
func TestJumpChain(t *testing.T) {
	testpeer.Need(t, "sshd", "ssh", "nc")
	var servers []*testpeer.Server
	for range 4 {
		servers = append(servers, testpeer.SSHD(t, testpeer.SSHDOptions{}))
	}
	text := block(t, "target", servers[3]) + block(t, "c", servers[2]) + block(t, "b", servers[1]) + block(t, "a", servers[0])
	for name, more := range map[string]string{
		"one line":            "Host target\nProxyJump a,b,c\n",
		"each its own":        "Host target\nProxyJump c\nHost c\nProxyJump b\nHost b\nProxyJump a\n",
		"the line goes first": "Host target\nProxyJump a,b,c\nHost c\nProxyJump nowhere\n",
		"with a command":      "Host target\nProxyJump b,c\nHost b\nProxyCommand nc %h %p\n",
		"for all but one":     "Host * !a\nProxyJump a\n",
	} {
		t.Run(name, func(t *testing.T) {
			o, err := written(t, "target", text+more)
			if err != nil {
				t.Fatal(err)
			}
			before := strings.Count(servers[0].Log(), "Accepted publickey")
			c, err := connect(t, o)
			if err != nil {
				t.Fatal(err)
			}
			nc, err := c.DialContext(t.Context(), "tcp", testpeer.HashTarget(t).Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if err := testpeer.Upload(nc, 1<<20); err != nil {
				t.Error(err)
			}
			if got := strings.Count(servers[0].Log(), "Accepted publickey") - before; (got == 1) != (name != "with a command") {
				t.Errorf("the first jump host saw %d logins", got)
			}
		})
	}
	t.Run("conformance", func(t *testing.T) {
		o, err := written(t, "target", text+"Host target\nProxyJump a\n")
		if err != nil {
			t.Fatal(err)
		}
		dialtest.Run(t, o.Jump)
	})
	t.Run("ssh -W", func(t *testing.T) {
		o, err := written(t, "target", text)
		if err != nil {
			t.Fatal(err)
		}
		o.Route.Command = "ssh -F " + o.Route.File + " -W " + servers[3].Addr + " a"
		if _, err := connect(t, o); err != nil {
			t.Error(err)
		}
	})
}

// Errors say which jump host it was.
func TestJumpErrors(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	a, refused := block(t, "a", s), testpeer.RefusedAddr(t)
	_, refusedPort, err := net.SplitHostPort(refused)
	if err != nil {
		t.Fatal(err)
	}
	other := testpeer.NewKey(t, "ed25519")
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "Host a\nUserKnownHostsFile /dev/null\n" + a, []string{"jump host a: handshake", "is not known"}},
		{"login", "Host a\nIdentityFile " + other.Path + "\nUser nobody\n" + a, []string{"jump host a: login nobody@"}},
		{"refused", "Host a\nPort " + refusedPort + "\n" + a, []string{"jump host a: dial", "connection refused"}},
		{"refused there", a + "Host db\nHostName 127.0.0.1\nPort " + refusedPort + "\n", []string{"dial 127.0.0.1:" + refusedPort + ": jump host a: ", "efused"}},
		{"circle", "Host db\nProxyJump x\nHost x\nProxyJump y\nHost y\nProxyJump x\n", []string{"go in a circle: x, then y, and x again"}},
		{"ends", "Host a\nProxyCommand sh -c 'echo no luck >&2; exit 4'\n" + a, []string{"jump host a: ", "proxy command sh (", "status 4", "no luck"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := written(t, "db", tt.text+"Host db\nProxyJump a\nGlobalKnownHostsFile none\nUserKnownHostsFile none\nIdentityAgent none\n")
			if err != nil {
				t.Fatal(err)
			}
			_, err = connect(t, o)
			if err == nil {
				t.Fatal("connected")
			}
			e, ok := errors.AsType[*dial.Error](err)
			if !ok || e.Stage != dial.StageJump {
				t.Errorf("got %v, want an error of the jump host", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
	// OpenSSH: "jumphost loop via a".
	if _, err := written(t, "a", "Host *\nProxyJump a\n"); err == nil || !strings.Contains(err.Error(), "through itself") {
		t.Errorf("a host that is its own jump host: got %v", err)
	}
}

// A command's failure names the line of the configuration that has it.
func TestProxyCommand(t *testing.T) {
	testpeer.Need(t, "sshd", "nc")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	for _, line := range []string{"ProxyCommand nc %h %p", "ProxyCommand none", "ProxyUseFdpass yes\nProxyCommand none"} {
		o, err := written(t, "db", block(t, "db", s)+line+"\n")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := connect(t, o); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if direct := strings.HasSuffix(line, "none"); o.Direct() != direct {
			t.Errorf("%s: direct is %v, want %v", line, o.Direct(), direct)
		}
	}
	o, err := written(t, "db", block(t, "db", s)+"ProxyCommand sh -c 'echo \"to %h %p %r %n\" >&2; exit 5'\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = connect(t, o)
	want := fmt.Sprintf("it exited with status 5; it said \"to %s %d %s db\"", s.Host(), s.Port(), s.User)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "proxy command sh ("+o.Route.File+":12)") {
		t.Errorf("got %v\nwant %s and the line of the file", err, want)
	}
}

func TestBindInterface(t *testing.T) {
	ifs, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	loopback := ""
	for _, i := range ifs {
		if i.Flags&net.FlagLoopback != 0 {
			loopback = i.Name
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o, err := written(t, "127.0.0.1", "BindInterface "+loopback+"\nUserKnownHostsFile none\n")
	if err != nil {
		t.Fatal(err)
	}
	c, err := o.dialer()(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	o.Route.BindInterface = "nosuch0"
	if _, err := o.dialer()(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "bind interface nosuch0: ") {
		t.Errorf("no such interface: got %v", err)
	}
}

// nc -F goes through a SOCKS proxy, here one of ours, and passes what it has; nc
// stays out of the way from then on.
func TestProxyUseFdpass(t *testing.T) {
	testpeer.Need(t, "sshd", "nc")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	o, err := written(t, "db", block(t, "db", s))
	if err != nil {
		t.Fatal(err)
	}
	bastion, err := connect(t, o)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := bastion.Forward(t.Context(), adit.Forward{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	for _, command := range []string{"nc -F -X 5 -x " + proxy.Addr().String() + " %h %p", "nc -F -X connect -x " + proxy.Addr().String() + " %h %p"} {
		o, err := written(t, "db", block(t, "db", s)+"ProxyUseFdpass yes\nProxyCommand "+command+"\n")
		if err != nil {
			t.Fatal(err)
		}
		c, err := connect(t, o)
		if err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		if got := c.RemoteAddr().String(); got != proxy.Addr().String() {
			t.Errorf("%s: connected to %s, want the proxy's socket itself", command, got)
		}
	}
}
