package adit_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// odd serves an agent that is not as it should be, each connection in its turn if
// serial. reply gets a request and what a good agent answers; nil closes.
func odd(t testing.TB, ring *agent.Keyring, serial bool, reply func(request, good []byte) []byte) (path string, ended func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serve := func(nc net.Conn) {
		defer nc.Close()
		c := ring.NewConnection()
		for {
			head := make([]byte, 4)
			if _, err := io.ReadFull(nc, head); err != nil {
				return
			}
			request := make([]byte, binary.BigEndian.Uint32(head))
			if _, err := io.ReadFull(nc, request); err != nil {
				return
			}
			b := reply(request, c.Answer(context.Background(), request))
			if b == nil {
				return
			}
			if _, err := nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
				return
			}
		}
	}
	var accepting, serving sync.WaitGroup
	accepting.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if serial {
				serve(nc)
			} else {
				serving.Go(func() { serve(nc) })
			}
		}
	})
	ended = sync.OnceFunc(func() {
		l.Close()
		accepting.Wait()
		serving.Wait()
	})
	t.Cleanup(ended)
	return path, ended
}

const (
	agentFailure   = 5
	agentExtension = 27
)

// windows answers as Windows' agent does: status is framed twice, and what it does
// not like it closes on.
func windows(request, good []byte) []byte {
	switch {
	case request[0] == 11 || request[0] == 13:
		return good
	case good[0] == 6 && (request[0] != agentExtension || strings.Contains(string(request), "session-bind@openssh.com")):
		return []byte{0, 0, 0, 1, 6}
	}
	return nil
}

// closing closes at every extension, as Windows' agent did before OpenSSH 8.9.
func closing(request, good []byte) []byte {
	if request[0] == agentExtension {
		return nil
	}
	return good
}

// refusing knows no extensions, and goes on.
func refusing(request, good []byte) []byte {
	if request[0] == agentExtension {
		return []byte{agentFailure}
	}
	return good
}

func plain(_, good []byte) []byte { return good }

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
	added := agent.AddedKey{PrivateKey: rawKey(t, user), Certificate: user.Certify(t, ca, "user", []string{s.User}), Comment: "certificate"}
	bare := added // gpg-agent and Pageant hold no certificates
	bare.Certificate = nil
	s.Authorize(t, user.Line())
	ring := func(t testing.TB) *agent.Keyring {
		r := &agent.Keyring{}
		t.Cleanup(r.Close)
		addKey(t, r, added)
		return r
	}
	parallel := 6
	if testing.Short() {
		parallel = 2
	}
	for name, start := range map[string]func(t testing.TB) (path string, ended func()){
		"ours":      func(t testing.TB) (string, func()) { return listenAgent(t, ring(t)) },
		"ssh-agent": func(t testing.TB) (string, func()) { return sshAgent(t, added), func() {} },
		"Windows":   func(t testing.TB) (string, func()) { return odd(t, ring(t), false, windows) },
		"closing":   func(t testing.TB) (string, func()) { return odd(t, ring(t), false, closing) },
		"refusing":  func(t testing.TB) (string, func()) { return odd(t, ring(t), false, refusing) },
		"serial":    func(t testing.TB) (string, func()) { return odd(t, ring(t), true, plain) },
		"gpg-agent": func(t testing.TB) (string, func()) { return withKey(t, testpeer.GPGAgent(t), bare), func() {} },
		"Pageant":   func(t testing.TB) (string, func()) { return withKey(t, testpeer.Pageant(t), bare), func() {} },
		"both behind ours": func(t testing.TB) (string, func()) {
			p := &agent.Proxy{Upstreams: []*agent.Dialer{agent.Socket(testpeer.Pageant(t)), agent.Socket(withKey(t, testpeer.GPGAgent(t), bare))}}
			return listenAgent(t, p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "Windows" && name != "serial" {
				t.Skip("takes many logins; the others are played in package agent too")
			}
			census(t)
			path, ended := start(t)
			c := loginTo(t, s)
			f := &agent.Forwarder{Dialer: agent.Socket(path)}
			ssh := fmt.Sprintf("ssh -A -F none -p %d -l %s -o BatchMode=yes -o IdentityFile=none -o AddKeysToAgent=no -o UserKnownHostsFile=%s -o GlobalKnownHostsFile=/dev/null -o ControlPath=none %s ",
				s.Port(), s.User, s.KnownHosts(t), s.Host())
			const reached = "echo REACHED"
			for _, command := range []string{ssh + "'" + ssh + reached + "'", ssh + reached} {
				if got := runWithAgent(t, c, f, command); !hasReached(got) {
					t.Fatalf("%s\nsays %q", command, got)
				}
			}
			var logins sync.WaitGroup
			for range parallel {
				logins.Go(func() {
					if got := runWithAgent(t, c, f, ssh+reached); !hasReached(got) {
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

// sshAgent starts OpenSSH's agent with a key.
func sshAgent(t testing.TB, k agent.AddedKey) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil { // it listens then
		t.Fatal(err)
	}
	return withKey(t, path, k)
}

// withKey gives an agent a key.
func withKey(t testing.TB, path string, k agent.AddedKey) string {
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
