package setup

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/adit-ssh/adit"
	aditagent "github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

func TestAgentKeys(t *testing.T) {
	ring := agent.NewKeyring()
	public := map[string]gossh.PublicKey{}
	for _, typ := range testpeer.KeyTypes {
		k := testpeer.NewKey(t, typ)
		private, err := gossh.ParseRawPrivateKey(readFile(t, k.Path))
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: private, Comment: typ + "\x1b[2J"}); err != nil {
			t.Fatal(err)
		}
		public["agent key "+typ+"[2J"] = k.Public
	}
	path, ended := testnet.ServeLocal(t, func(nc net.Conn) { agent.ServeAgent(ring, nc) })
	keys, err := (&Options{IdentityAgent: path, IdentityFiles: []string{"none"}}).keys(t.Context())
	if err != nil || len(keys) != len(public) {
		t.Fatalf("%d keys, %v, want %d", len(keys), err, len(public))
	}
	for _, k := range keys {
		s, ok := k.Signer.(adit.ContextSigner)
		if !ok || !k.Probe || public[k.Comment] == nil {
			t.Fatalf("%q: context signer %v, probe %v", k.Comment, ok, k.Probe)
		}
		algorithms := []string{k.PublicKey().Type()}
		if algorithms[0] == gossh.KeyAlgoRSA {
			algorithms = []string{gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSASHA512}
		}
		for _, algorithm := range algorithms {
			sig, err := s.SignContext(t.Context(), []byte("data"), algorithm)
			if err != nil {
				t.Fatal(err)
			}
			if err := public[k.Comment].Verify([]byte("data"), sig); err != nil || sig.Format != algorithm {
				t.Errorf("%s: signature %s, %v, want %s", k.Comment, sig.Format, err, algorithm)
			}
		}
	}
	ended() // hangs when a connection to the agent was left open
}

// An agent that says nothing holds nobody longer than their context.
func TestSilentAgent(t *testing.T) {
	asked := make(chan struct{}, 2)
	path, ended := testnet.ServeLocal(t, func(nc net.Conn) {
		b := make([]byte, 1024)
		nc.Read(b)
		asked <- struct{}{}
		for {
			if _, err := nc.Read(b); err != nil {
				return
			}
		}
	})
	why := errors.New("the person gave up")
	o := &Options{IdentityAgent: path}
	key := newAgentSigner(o, &loginAgent{path: path, dialer: aditagent.Socket(path)}, testpeer.NewKey(t, "ed25519").Public, "key")
	for name, ask := range map[string]func(context.Context) error{
		"list": func(ctx context.Context) error { _, err := o.agentKeys(ctx); return err },
		"sign": func(ctx context.Context) error {
			_, err := key.SignContext(ctx, []byte("data"), gossh.KeyAlgoED25519)
			return err
		},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { // ends when the agent was asked
			<-asked
			cancel(why)
		}()
		if err := ask(ctx); !errors.Is(err, why) {
			t.Errorf("%s: got %v, want %v", name, err, why)
		}
	}
	ended()
}

func TestNoAgent(t *testing.T) {
	var notices []string
	o := &Options{IdentityAgent: filepath.Join(t.TempDir(), "none"), IdentityFiles: []string{"none"},
		Notice: func(text string) { notices = append(notices, text) }}
	keys, err := o.keys(t.Context())
	if err != nil || len(keys) != 0 || len(notices) != 1 {
		t.Errorf("an agent that is not there: %d keys, %v, notices %q, want one notice", len(keys), err, notices)
	}
	t.Setenv("SSH_AUTH_SOCK", o.IdentityAgent)
	o.IdentityAgent, notices = "none", nil
	if keys, err := o.keys(t.Context()); err != nil || len(keys) != 0 || notices != nil {
		t.Errorf("IdentityAgent none: %d keys, %v, notices %q, want none of them", len(keys), err, notices)
	}
}

// Each question of a login has a connection of its own that is bound to the
// login's session before anything else is asked.
func TestAgentIsBoundFirst(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	private, err := gossh.ParseRawPrivateKey(readFile(t, s.Key.Path))
	if err != nil {
		t.Fatal(err)
	}
	ring := &aditagent.Keyring{}
	t.Cleanup(ring.Close)
	// The key signs only where the binding says that the login goes.
	to := aditagent.Hop{User: s.User, Hostname: "server", Keys: []aditagent.HostKey{{Blob: s.HostKeys[0].Marshal()}}}
	if err := ring.Add(aditagent.AddedKey{PrivateKey: private, Destinations: []aditagent.Destination{{To: to}}}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	asked := [][]string{}
	path, ended := testnet.ServeLocal(t, func(nc net.Conn) {
		var said []string
		server := &aditagent.Server{Agent: ring, Log: func(r aditagent.Request) { said = append(said, strings.TrimSpace(r.Operation+" "+r.Extension)) }}
		server.ServeConn(t.Context(), nc)
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, said)
	})
	o := &Options{Host: s.Host(), Port: s.Port(), User: s.User, IdentityAgent: path, IdentityFiles: []string{"none"}, KnownHosts: []string{s.KnownHosts(t)}}
	cfg, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	c, err := o.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	ended()
	const bind = "extension session-bind@openssh.com"
	if want := [][]string{{bind, "list"}, {bind, "sign"}}; !reflect.DeepEqual(asked, want) {
		t.Errorf("the agent was asked %q, want %q", asked, want)
	}
}

// Where nobody names an agent but the system has a place for one, as Windows has, it is
// used, forwarded and given keys if it is there, and not missed if it is not.
func TestAssumedAgent(t *testing.T) {
	ring := &aditagent.Keyring{}
	t.Cleanup(ring.Close)
	path, _ := testnet.ServeLocal(t, func(nc net.Conn) { (&aditagent.Server{Agent: ring}).ServeConn(t.Context(), nc) })
	k := testpeer.NewKey(t, testpeer.KeyTypes[0])
	private, err := gossh.ParseRawPrivateKey(readFile(t, k.Path))
	if err != nil {
		t.Fatal(err)
	}
	gone := testnet.LocalPath(t)
	assumed := path
	defer func() { defaultAgent = aditagent.DefaultPath }()
	defaultAgent = func() (string, bool) { return assumed, true }
	var notices []string
	for _, named := range []string{"", "SSH_AUTH_SOCK"} {
		ring.RemoveAll()
		o := &Options{IdentityAgent: named, IdentityFiles: []string{"none"}, ForwardAgent: "yes", AddKeys: "yes",
			Notice: func(text string) { notices = append(notices, text) }}
		add := func() {
			(&keyFile{o: o, path: k.Path, private: private}).addToAgent(t.Context())
		}
		assumed = path
		add()
		if keys, err := o.keys(t.Context()); err != nil || len(keys) != 1 || ring.Len() != 1 {
			t.Errorf("IdentityAgent %q: %d keys, %v, and %d in the agent, want 1", named, len(keys), err, ring.Len())
		}
		nc, err := o.AgentForwarder().Dial(t.Context())
		if err != nil {
			t.Fatalf("IdentityAgent %q: forward: %v", named, err)
		}
		nc.Close()
		assumed = gone
		if keys, err := o.keys(t.Context()); err != nil || len(keys) != 0 {
			t.Errorf("IdentityAgent %q, nobody there: %d keys, %v", named, len(keys), err)
		}
		add()
	}
	if notices != nil {
		t.Errorf("it is said that %q", notices)
	}
	assumed = path
	if keys, err := (&Options{IdentityAgent: "none", IdentityFiles: []string{"none"}}).keys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("IdentityAgent none: %d keys, %v", len(keys), err)
	}
}
