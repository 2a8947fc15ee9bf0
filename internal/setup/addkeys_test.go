package setup

import (
	"context"
	"crypto/rand"
	"net"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// addedKeys is an agent that notes how keys are added.
type addedKeys struct {
	agent.Agent
	mu    sync.Mutex
	added []agent.AddedKey // guarded by mu
}

func (a *addedKeys) Add(k agent.AddedKey) error {
	a.mu.Lock()
	a.added = append(a.added, k)
	a.mu.Unlock()
	k.ConfirmBeforeUse = false // which x/crypto refuses
	return a.Agent.Add(k)
}

// consenter also says yes or no.
type consenter struct {
	typist
	yes       bool
	questions []string
}

func (c *consenter) Confirm(_ context.Context, question string) (bool, error) {
	c.questions = append(c.questions, question)
	return c.yes, nil
}

// AddKeysToAgent: a key that was opened goes to the agent when it signs, once,
// with the constraints that were named.
func TestAddKeysToAgent(t *testing.T) {
	locked, public := writeLocked(t, "open sesame")
	plain := testpeer.NewKey(t, "rsa")
	for _, tt := range []struct {
		setting       string
		yes           bool
		added         int
		seconds       uint32
		confirm       bool
		wantQuestions int
	}{
		{"no", true, 0, 0, false, 0},
		{"yes", false, 2, 0, false, 0},
		{"300", false, 2, 300, false, 0},
		{"confirm", false, 2, 0, true, 0},
		{"confirm 5m", false, 2, 300, true, 0},
		{"ask", true, 2, 0, false, 2},
		{"ask", false, 0, 0, false, 2},
	} {
		ring := &addedKeys{Agent: agent.NewKeyring()}
		path, _ := testnet.ServeLocal(t, func(nc net.Conn) { agent.ServeAgent(ring, nc) })
		o, _, err := options(t, "AddKeysToAgent "+tt.setting+"\nIdentityAgent "+path+"\nIdentityFile "+locked+"\nIdentityFile "+plain.Path+"\n")
		if err != nil {
			t.Fatal(err)
		}
		who := &consenter{typist: typist{answers: []string{"open sesame"}}, yes: tt.yes}
		o.Prompter = who
		keys, err := o.keys(t.Context())
		if err != nil || len(keys) != 3 { // the certificate too
			t.Fatalf("%s: %d keys, %v", tt.setting, len(keys), err)
		}
		if len(ring.added) > 0 {
			t.Errorf("%s: added before the server took it", tt.setting)
		}
		for _, k := range keys {
			for range 2 {
				if _, err := k.Sign(rand.Reader, []byte("data")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(ring.added) != tt.added || len(who.questions) != tt.wantQuestions {
			t.Errorf("%s: %d keys added after the questions %q; want %d after %d", tt.setting, len(ring.added), who.questions, tt.added, tt.wantQuestions)
		}
		for _, k := range ring.added {
			if k.LifetimeSecs != tt.seconds || k.ConfirmBeforeUse != tt.confirm {
				t.Errorf("%s: added for %d s, confirm %v", tt.setting, k.LifetimeSecs, k.ConfirmBeforeUse)
			}
		}
		if tt.added > 0 {
			if s, err := ring.Signers(); err != nil || !sameKey(s[0].PublicKey(), public) {
				t.Errorf("%s: the agent has another key: %v", tt.setting, err)
			}
		}
	}
}

// An agent that refuses to sign is told of, and does not end the login.
func TestAgentRefusesToSign(t *testing.T) {
	ring := agent.NewKeyring()
	raw, err := gossh.ParseRawPrivateKey(readFile(t, testpeer.NewKey(t, "ed25519").Path))
	if err == nil {
		err = ring.Add(agent.AddedKey{PrivateKey: raw, Comment: "work"})
	}
	if err != nil {
		t.Fatal(err)
	}
	path, _ := testnet.ServeLocal(t, func(nc net.Conn) { agent.ServeAgent(ring, nc) })
	keys, _ := keysOf(t, &Options{IdentityAgent: path, IdentityFiles: []string{"none"}})
	signer := keys[0].(*agentSigner)
	var told []string
	signer.o.Notice = func(text string) { told = append(told, text) }
	ring.RemoveAll()
	const want = `warning: signing failed for ssh-ed25519 "work" from agent: agent refused operation`
	if _, err := signer.Sign(nil, []byte("data")); err == nil || len(told) != 1 || told[0] != want {
		t.Errorf("got %v, told %q; want an error and %s", err, told, want)
	}
}
