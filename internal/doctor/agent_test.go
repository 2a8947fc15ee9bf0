package doctor

import (
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// binding is an agent that knows session-bind, and notes what it was told.
type binding struct {
	agent.ExtendedAgent
	bound chan []byte
}

func (b *binding) Extension(name string, contents []byte) ([]byte, error) {
	if name != "session-bind@openssh.com" {
		return nil, agent.ErrExtensionUnsupported
	}
	b.bound <- contents
	return nil, nil
}

func TestAgent(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	ring := agent.NewKeyring().(agent.ExtendedAgent)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Add(agent.AddedKey{PrivateKey: key, Comment: "laptop\x1b[2J"}); err != nil {
		t.Fatal(err)
	}
	bound := make(chan []byte, 16) // the login binds as well
	for name, c := range map[string]struct {
		serve func(net.Conn)
		want  []string // lines of the report
		took  time.Duration
	}{
		"answers": {func(c net.Conn) { agent.ServeAgent(ring, c) },
			[]string{"has 1 keys (IdentityAgent at", "ssh-ed25519 laptop?[2J", "session-bind: the agent does not know it"}, 0},
		"binds": {func(c net.Conn) { agent.ServeAgent(&binding{ring, bound}, c) },
			[]string{"session-bind: the agent takes it"}, 0},
		"silent":  {func(c net.Conn) { io.Copy(io.Discard, c) }, []string{"warning  agent", "no answer within 1s"}, time.Second},
		"garbage": {func(c net.Conn) { io.WriteString(c, "what?") }, []string{"warning  agent"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := testnet.ServeLocal(t, c.serve)
			p := withSSHD(t, s, base+"IdentityFile {KEY}\nConnectTimeout 1\nIdentityAgent "+path+"\n", "[127.0.0.1]:{PORT} {HOSTKEY}\n")
			r := p.examine(t, Options{})
			var out strings.Builder
			r.Text(&out)
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got\n%s\nwant %q in it", out.String(), want)
				}
			}
			for _, check := range r.Checks {
				if check.Stage == StageAgent && check.Subject == "" && check.Took < c.took {
					t.Errorf("gave up after %v, want %v", check.Took, c.took)
				}
			}
		})
	}
	if b := <-bound; !strings.Contains(string(b), string(s.HostKeys[0].Marshal())) || b[len(b)-1] != 0 {
		t.Errorf("session-bind is %q, want the server's key in it and no forwarding", b)
	}

	p := withSSHD(t, s, base+"IdentityFile {KEY}\nIdentityAgent {DIR}/nobody\n", "[127.0.0.1]:{PORT} {HOSTKEY}\n")
	if r := p.examine(t, Options{}); r.ExitStatus() != 0 {
		t.Errorf("exit status %d, want 0: a key in a file does without the agent that is gone", r.ExitStatus())
	}
}
