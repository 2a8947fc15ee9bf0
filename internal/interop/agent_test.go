package interop

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

// An agent is forwarded to a server, where `ssh -A localhost` is called twice, with a
// certificate that only the agent has. A client that pipes all channels through one
// connection to the agent (golang.org/x/crypto/ssh with ForwardToAgent, as Teleport's
// tsh had it) has the first login's binding spoil the connection for the second: an
// agent that closes on a refused binding, as Windows' does, is gone then. One that
// goes on takes the programs at the server for programs here, and so lets them use
// keys that are not meant for them.
func TestForwardedTwice(t *testing.T) {
	testpeer.Need(t, "sshd", "ssh", "ssh-add", "ssh-agent", "ssh-keygen")
	ca := testpeer.NewKey(t, "ed25519")
	cas := filepath.Join(t.TempDir(), "cas")
	if err := os.WriteFile(cas, []byte(ca.Line()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"TrustedUserCAKeys " + cas}})
	user := testpeer.NewKey(t, "ed25519")
	added := agent.AddedKey{PrivateKey: user.Private, Certificate: user.Certify(t, ca, "user", []string{s.User}), Comment: "certificate"}
	// Only for reaching the server, not for going on from there.
	narrow := added
	narrow.Destinations = []agent.Destination{{To: agent.Hop{Hostname: "server", Keys: []agent.HostKey{{Blob: s.HostKeys[0].Marshal()}}}}}
	ssh := fmt.Sprintf("ssh -A -F none -p %d -l %s -o BatchMode=yes -o IdentityFile=none -o AddKeysToAgent=no -o UserKnownHostsFile=%s -o GlobalKnownHostsFile=/dev/null -o ControlPath=none %s echo REACHED",
		s.Port(), s.User, s.KnownHosts(t), s.Host())

	for _, tt := range []struct {
		client func(testing.TB, *testpeer.Server, string) func(string) string
		agent  func(testing.TB, agent.AddedKey) string
		name   string
		want   string // first login, second login, the agent's list afterwards, and for the narrow key a login
	}{
		{naive, windowsAgent, "naive client, agent that closes", "in denied gone"},
		{ours, windowsAgent, "adit, agent that closes", "in in lists"},
		{naive, opensshAgent, "naive client, ssh-agent", "in in lists in"},
		{ours, opensshAgent, "adit, ssh-agent", "in in lists denied"},
	} {
		run := tt.client(t, s, tt.agent(t, added))
		login := func(run func(string) string) string {
			out := run(ssh)
			switch {
			case strings.Contains(out, "REACHED"):
				return "in"
			case strings.Contains(out, "Permission denied"):
				return "denied"
			}
			return fmt.Sprintf("%q", out)
		}
		got := []string{login(run), login(run)}
		switch out := run("ssh-add -l"); {
		case strings.Contains(out, "certificate"):
			got = append(got, "lists")
		case strings.Contains(out, "error fetching identities"):
			got = append(got, "gone")
		default:
			got = append(got, fmt.Sprintf("%q", out))
		}
		if len(strings.Fields(tt.want)) > 3 {
			got = append(got, login(tt.client(t, s, tt.agent(t, narrow))))
		}
		t.Logf("%-32s %s", tt.name+":", strings.Join(got, " "))
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// naive forwards an agent as x/crypto's documentation has it: one connection for all.
func naive(t testing.TB, s *testpeer.Server, path string) (run func(command string) string) {
	t.Helper()
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c, err := gossh.Dial("tcp", s.Addr, s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	log.SetOutput(io.Discard) // x/crypto tells there when the agent is lost
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	if err := sshagent.ForwardToAgent(c, sshagent.NewClient(nc)); err != nil {
		t.Fatal(err)
	}
	return func(command string) string {
		session, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		sshagent.RequestAgentForwarding(session) // sshd refuses all but a connection's first
		out, _ := session.CombinedOutput(command)
		return string(out)
	}
}

// ours forwards it as adit ssh -A does.
func ours(t testing.TB, s *testpeer.Server, path string) (run func(command string) string) {
	t.Helper()
	c := dialSSHD(t, s)
	f := &agent.Forwarder{Dialer: agent.Socket(path)}
	return func(command string) string { return runForwarding(t, c, f, command) }
}

// dialSSHD logs in with the server's key.
func dialSSHD(t testing.TB, s *testpeer.Server) *adit.Client {
	t.Helper()
	c, err := adit.Dial(t.Context(), s.User+"@"+s.Addr, &adit.Config{Keys: adit.Keys(s.Key.Signer), CheckHostKey: adit.FixedHostKey(s.HostKeys[0])})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// runForwarding runs a command at the server and returns what it says.
func runForwarding(t testing.TB, c *adit.Client, f *agent.Forwarder, command string) string {
	t.Helper()
	ch, err := c.OpenChannel(t.Context(), wire.ChannelSession, nil, adit.Options{Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	if err := c.ForwardAgent(t.Context(), ch, f); err != nil {
		t.Fatal(err)
	}
	if ok, err := ch.SendRequest(t.Context(), wire.RequestExec, true, (&wire.Text{Value: command + " 2>&1"}).Append(nil)); err != nil || !ok {
		t.Fatalf("exec: %v, %v", ok, err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(ch); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// opensshAgent is ssh-agent with a key.
func opensshAgent(t testing.TB, k agent.AddedKey) (path string) {
	t.Helper()
	return keyed(t, testpeer.SSHAgent(t), k)
}

// keyed gives an agent a key.
func keyed(t testing.TB, path string, k agent.AddedKey) string {
	t.Helper()
	conn, _, err := agent.Socket(path).Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := agent.NewClient(conn)
	defer c.Close()
	if err := c.Add(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	return path
}

// ringOf returns a keyring with a key for some destinations.
func ringOf(t testing.TB, key *testpeer.Key, ds ...agent.Destination) *agent.Keyring {
	t.Helper()
	return ringWith(t, agent.AddedKey{PrivateKey: key.Private, Comment: "the key", Destinations: ds})
}

func ringWith(t testing.TB, k agent.AddedKey) *agent.Keyring {
	t.Helper()
	ring := &agent.Keyring{}
	t.Cleanup(ring.Close)
	if err := ring.Add(k); err != nil {
		t.Fatal(err)
	}
	return ring
}

// windowsAgent is an agent with a key that answers as Windows' does.
func windowsAgent(t testing.TB, k agent.AddedKey) (path string) {
	t.Helper()
	path, _ = odd(t, ringWith(t, k), false, windows)
	return path
}
