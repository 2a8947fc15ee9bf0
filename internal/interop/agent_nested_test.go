package interop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

// ssh -A at the server, nested, twice in sequence and six times at once, with a
// certificate that only the agent has: before agents of all kinds. A client that
// pipes all of it through one connection to the agent fails at the second login.
func TestForwardAgentNested(t *testing.T) {
	testpeer.Need(t, "sshd", "ssh", "ssh-keygen", "ssh-agent")
	ca := testpeer.NewKey(t, "ed25519")
	cas := filepath.Join(t.TempDir(), "cas")
	if err := os.WriteFile(cas, []byte(ca.Line()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"TrustedUserCAKeys " + cas, "MaxStartups 100", "MaxSessions 100"}})
	user := testpeer.NewKey(t, "ed25519")
	added := agent.AddedKey{PrivateKey: user.Private, Certificate: user.Certify(t, ca, "user", []string{s.User}), Comment: "certificate"}
	bare := added // gpg-agent and Pageant hold no certificates
	bare.Certificate = nil
	s.Authorize(t, user.Line())
	parallel := 6
	if testing.Short() {
		parallel = 2
	}
	for name, start := range map[string]func(t testing.TB) (path string, ended func()){
		"ours":      func(t testing.TB) (string, func()) { return serveRing(t, ringWith(t, added)) },
		"ssh-agent": func(t testing.TB) (string, func()) { return keyed(t, testpeer.SSHAgent(t), added), func() {} },
		"Windows":   func(t testing.TB) (string, func()) { return odd(t, ringWith(t, added), false, windows) },
		"closing":   func(t testing.TB) (string, func()) { return odd(t, ringWith(t, added), false, closing) },
		"refusing":  func(t testing.TB) (string, func()) { return odd(t, ringWith(t, added), false, refusing) },
		"serial":    func(t testing.TB) (string, func()) { return odd(t, ringWith(t, added), true, plain) },
		"gpg-agent": func(t testing.TB) (string, func()) { return keyed(t, testpeer.GPGAgent(t), bare), func() {} },
		"Pageant":   func(t testing.TB) (string, func()) { return keyed(t, testpeer.Pageant(t), bare), func() {} },
		"both behind ours": func(t testing.TB) (string, func()) {
			p := &agent.Proxy{Upstreams: []*agent.Dialer{agent.Socket(testpeer.Pageant(t)), agent.Socket(keyed(t, testpeer.GPGAgent(t), bare))}}
			return serveRing(t, p)
		},
	} {
		if testing.Short() && name != "Windows" && name != "serial" {
			continue // many logins; package agent plays the others too
		}
		t.Run(name, func(t *testing.T) {
			testnet.Census(t)
			path, ended := start(t)
			c := dialSSHD(t, s)
			f := &agent.Forwarder{Dialer: agent.Socket(path)}
			ssh := fmt.Sprintf("ssh -A -F none -p %d -l %s -o BatchMode=yes -o IdentityFile=none -o AddKeysToAgent=no -o UserKnownHostsFile=%s -o GlobalKnownHostsFile=/dev/null -o ControlPath=none %s ",
				s.Port(), s.User, s.KnownHosts(t), s.Host())
			const reached = "echo REACHED"
			for _, command := range []string{ssh + "'" + ssh + reached + "'", ssh + reached} {
				if got := runForwarding(t, c, f, command); !hasReached(got) {
					t.Fatalf("%s\nsays %q", command, got)
				}
			}
			var logins sync.WaitGroup
			for range parallel {
				logins.Go(func() {
					if got := runForwarding(t, c, f, ssh+reached); !hasReached(got) {
						t.Errorf("one of several at once says %q", got)
					}
				})
			}
			logins.Wait()
			c.Close()
			ended() // hangs when a connection to the agent was left open
		})
	}
}

// hasReached reports whether a command's output ends as it should. What a person's
// shell says at its start comes before that.
func hasReached(output string) bool {
	return strings.HasSuffix("\n"+strings.TrimSpace(output), "\nREACHED")
}

// Programs at sshd see keys as their destinations allow, also after a new key
// exchange: the session stays the first one's.
func TestForwardAgentSSHD(t *testing.T) {
	testpeer.Need(t, "sshd", "ssh-add")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	to := agent.Hop{Hostname: "server", Keys: []agent.HostKey{{Blob: s.HostKeys[0].Marshal()}}}
	for name, tt := range map[string]struct {
		ds   []agent.Destination
		want string
	}{
		"everywhere":          {nil, "the key"},
		"the server":          {[]agent.Destination{{To: to}}, "no identities"},
		"the server and back": {[]agent.Destination{{To: to}, {From: to, To: to}}, "the key"},
	} {
		testnet.Census(t)
		path, ended := serveRing(t, ringOf(t, s.Key, tt.ds...))
		c := dialSSHD(t, s)
		before := c.Session()
		c.Rekey()
		f := &agent.Forwarder{Dialer: agent.Socket(path)}
		for range 2 {
			if got := runForwarding(t, c, f, "ssh-add -l"); !strings.Contains(got, tt.want) {
				t.Errorf("%s: ssh-add says %q, want %q", name, got, tt.want)
			}
		}
		if after := c.Session(); !bytes.Equal(after.ID, before.ID) || after.Verify() != nil {
			t.Errorf("%s: the session has changed with the keys", name)
		}
		c.Close()
		ended()
	}
}

// A server whose key is wrong gets no agent.
func TestForwardAgentUnverified(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	c, err := adit.Dial(t.Context(), s.Addr, &adit.Config{User: s.User, Keys: adit.Keys(s.Key.Signer), CheckHostKey: func(string, string, gossh.PublicKey) error {
		return adit.ErrUnverified
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.OpenChannel(t.Context(), wire.ChannelSession, nil, adit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ForwardAgent(t.Context(), ch, &agent.Forwarder{Dialer: agent.Socket("/nowhere")}); !errors.Is(err, adit.ErrUnverified) {
		t.Errorf("got %v, want %v", err, adit.ErrUnverified)
	}
}
