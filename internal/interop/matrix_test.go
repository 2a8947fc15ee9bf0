package interop

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// How a login ends. What a server does not have is not tried.
const (
	isIn    = "in"
	isBound = "in, bound to the host key"
	refused = "refused"
	lacks   = "-"
)

// matrixRow is one way to log in, as a person has it: files, agents, answers.
type matrixRow struct {
	name    string
	prepare func(t *testing.T, m *matrixServer, o *setup.Options)
	want    map[string]string // by server; "" is for the others
}

// matrixServer is a server that gets to know more and more keys.
type matrixServer struct {
	*testpeer.Endpoint
	name      string
	authorize func(t testing.TB, line string)
	ca        *testpeer.Key
}

// answers are what a person types, one after the other.
type answers struct {
	texts []string
}

func (a *answers) Ask(context.Context, string, bool) (string, bool, error) {
	if len(a.texts) == 0 {
		return "", false, nil
	}
	text := a.texts[0]
	a.texts = a.texts[1:]
	return text, true, nil
}

func withFile(typ string) func(*testing.T, *matrixServer, *setup.Options) {
	return func(t *testing.T, m *matrixServer, o *setup.Options) {
		key := testpeer.NewKey(t, typ)
		m.authorize(t, key.Line())
		o.IdentityFiles = []string{key.Path}
	}
}

func withAgent(typ string, certified bool) func(*testing.T, *matrixServer, *setup.Options) {
	return func(t *testing.T, m *matrixServer, o *setup.Options) {
		key := testpeer.NewKey(t, typ)
		b, err := os.ReadFile(key.Path)
		if err != nil {
			t.Fatal(err)
		}
		private, err := gossh.ParseRawPrivateKey(b)
		if err != nil {
			t.Fatal(err)
		}
		added := agent.AddedKey{PrivateKey: private}
		if certified {
			added.Certificate = key.Certify(t, m.ca, "user", []string{m.User})
		} else {
			m.authorize(t, key.Line())
		}
		ring := agent.NewKeyring()
		if err := ring.Add(added); err != nil {
			t.Fatal(err)
		}
		o.IdentityAgent = serveAgent(t, ring)
	}
}

func withToken(options string, flags byte) func(*testing.T, *matrixServer, *setup.Options) {
	return func(t *testing.T, m *matrixServer, o *setup.Options) {
		token := newToken(t, flags)
		m.authorize(t, strings.TrimSpace(options+" "+string(gossh.MarshalAuthorizedKey(token.public))))
		o.IdentityAgent = serveAgent(t, token)
	}
}

func withAnswers(texts ...string) func(*testing.T, *matrixServer, *setup.Options) {
	return func(t *testing.T, m *matrixServer, o *setup.Options) {
		a := &answers{}
		for _, text := range texts {
			a.texts = append(a.texts, strings.ReplaceAll(text, "PASSWORD", m.Password))
		}
		o.Prompter = a
	}
}

var hostBinders = map[string]string{"": isIn, "sshd": isBound, "adit": isBound}

var matrix = []matrixRow{
	{"ed25519 file", withFile("ed25519"), hostBinders},
	{"ecdsa-256 file", withFile("ecdsa"), hostBinders},
	{"ecdsa-384 file", withFile("ecdsa-384"), hostBinders},
	{"ecdsa-521 file", withFile("ecdsa-521"), hostBinders},
	{"rsa file", withFile("rsa"), hostBinders},
	{"locked file", func(t *testing.T, m *matrixServer, o *setup.Options) {
		withFile("ed25519")(t, m, o)
		if out, err := exec.Command("ssh-keygen", "-q", "-p", "-a", "1", "-N", "sesame", "-f", o.IdentityFiles[0]).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		o.Prompter = &answers{texts: []string{"barley", "sesame"}}
	}, hostBinders},
	{"ed25519 in the agent", withAgent("ed25519", false), hostBinders},
	{"rsa in the agent", withAgent("rsa", false), hostBinders},
	{"certificate beside a file", func(t *testing.T, m *matrixServer, o *setup.Options) {
		key := testpeer.NewKey(t, "rsa")
		key.Certify(t, m.ca, "user", []string{m.User})
		o.IdentityFiles = []string{key.Path}
	}, map[string]string{"": lacks, "sshd": isBound, "adit": isBound}},
	{"certificate in the agent", withAgent("ecdsa", true), map[string]string{"": lacks, "sshd": isBound, "adit": isBound}},
	{"token, touched", withToken("", 1), hostBinders},
	// x/crypto hangs up on a signature that it does not like.
	{"token, untouched", withToken("", 0), map[string]string{"": refused, "x/crypto": lacks}},
	{"token, no-touch-required", withToken("no-touch-required", 0), map[string]string{"": lacks, "sshd": isBound}},
	{"wrong key", func(t *testing.T, m *matrixServer, o *setup.Options) {
		o.IdentityFiles = []string{testpeer.NewKey(t, "ed25519").Path}
	}, map[string]string{"": refused}},
	{"password", func(t *testing.T, m *matrixServer, o *setup.Options) {
		withAnswers("wrong", "PASSWORD")(t, m, o)
		o.NoKbdint = true
	}, map[string]string{"": isIn, "adit": refused}},
	{"wrong passwords", func(t *testing.T, m *matrixServer, o *setup.Options) {
		withAnswers("wrong", "wrong", "wrong")(t, m, o)
		o.NoKbdint = true
	}, map[string]string{"": refused}},
	{"keyboard-interactive", func(t *testing.T, m *matrixServer, o *setup.Options) {
		withAnswers("PASSWORD")(t, m, o)
		o.NoPassword = true
	}, map[string]string{"": lacks, "sshd": isIn}},
	{"nobody to ask", func(t *testing.T, m *matrixServer, o *setup.Options) { withAnswers()(t, m, o) }, map[string]string{"": refused}},
}

// TestLoginMatrix is every way to log in at every server; -v prints it.
func TestLoginMatrix(t *testing.T) {
	testpeer.Need(t, "sshd", "ssh-keygen", "dropbear")
	ca := testpeer.NewKey(t, "ed25519")
	var servers []*matrixServer
	for _, s := range []*testpeer.Server{
		testpeer.SSHD(t, testpeer.SSHDOptions{Passwords: true, Config: []string{"TrustedUserCAKeys " + ca.Path + ".pub", "MaxAuthTries 20", "MaxStartups 100"}}),
		testpeer.Dropbear(t), testpeer.XCrypto(t),
	} {
		servers = append(servers, &matrixServer{&s.Endpoint, s.Name, s.Authorize, ca})
	}
	var mu sync.Mutex
	cells := map[string]string{} // guarded by mu
	t.Run("login", func(t *testing.T) {
		for _, row := range matrix {
			for _, m := range append(servers, &matrixServer{name: "adit", ca: ca}) {
				want, ok := row.want[m.name]
				if !ok {
					want = row.want[""]
				}
				got := lacks
				if want != lacks {
					t.Run(row.name+"/"+m.name, func(t *testing.T) {
						var why string
						if got, why = tryLogin(t, row, m); got != want {
							t.Errorf("got %s, want %s: %s", got, want, why)
						}
					})
				}
				mu.Lock()
				cells[row.name+"/"+m.name] = got
				mu.Unlock()
			}
		}
	})
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-26s", "")
	names := []string{"sshd", "dropbear", "x/crypto", "adit"}
	for _, n := range names {
		fmt.Fprintf(&b, " %-26s", n)
	}
	for _, row := range matrix {
		fmt.Fprintf(&b, "\n%-26s", row.name)
		for _, n := range names {
			fmt.Fprintf(&b, " %-26s", cells[row.name+"/"+n])
		}
	}
	t.Log(b.String())
}

// A key and then a password: neither alone is enough.
func TestKeyThenPassword(t *testing.T) {
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Passwords: true, Config: []string{"AuthenticationMethods publickey,password"}})
	m := &matrixServer{&s.Endpoint, s.Name, s.Authorize, nil}
	for _, tt := range []struct {
		keys, texts []string
		want, tried string
	}{
		{[]string{s.Key.Path}, []string{"wrong", "PASSWORD"}, isIn, bound + " partial, password failure, password success"},
		{[]string{s.Key.Path}, []string{"wrong", "wrong", "wrong"}, refused, "(right, but not enough), password (3 times); the server takes password"},
		{[]string{"none"}, []string{"PASSWORD"}, refused, "the server takes publickey"},
	} {
		got, why := tryLogin(t, matrixRow{prepare: func(t *testing.T, m *matrixServer, o *setup.Options) {
			o.IdentityFiles = tt.keys
			withAnswers(tt.texts...)(t, m, o)
		}}, m)
		if got != tt.want || !strings.Contains(why, tt.tried) {
			t.Errorf("keys %q, answers %q: %s, %s; want %s, %s", tt.keys, tt.texts, got, why, tt.want, tt.tried)
		}
	}
}

// tryLogin logs in by what setup makes of a person's files.
func tryLogin(t *testing.T, row matrixRow, m *matrixServer) (outcome, why string) {
	o := &setup.Options{IdentityFiles: []string{"none"}, IdentityAgent: "none", GlobalKnownHosts: []string{"none"}, StrictHostKey: "yes"}
	if m.name == "adit" { // a server for each, since its keys are read when it starts
		var lines []string
		own := &matrixServer{Endpoint: &testpeer.Endpoint{User: "tester"}, name: m.name, ca: m.ca,
			authorize: func(_ testing.TB, line string) { lines = append(lines, line) }}
		row.prepare(t, own, o)
		lines = append(lines, "cert-authority "+m.ca.Line())
		e := startBastion(t, testpeer.NewKey(t, "ed25519"), strings.Join(lines, "\n"), newRecorder())
		e.User = own.User
		own.Endpoint, m = e, own
	} else {
		row.prepare(t, m, o)
	}
	o.Host, o.Port, o.User, o.KnownHosts = m.Host(), m.Port(), m.User, []string{m.KnownHosts(t)}
	r := newRecorder()
	o.Tracer = r
	cfg, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	target, err := o.Target()
	if err != nil {
		t.Fatal(err)
	}
	c, err := adit.Dial(withLimit(t), target, cfg)
	if err == nil {
		c.Close()
		if strings.HasSuffix(r.login(), bound+" success") {
			return isBound, r.login()
		}
		return isIn, r.login()
	}
	if _, ok := errors.AsType[*adit.AuthError](err); ok {
		return refused, err.Error()
	}
	return "error", err.Error()
}

// serveAgent serves an agent's protocol and returns the socket.
func serveAgent(t *testing.T, a agent.Agent) (path string) {
	t.Helper()
	path, _ = testnet.ServeUnix(t, func(nc net.Conn) { agent.ServeAgent(a, nc) })
	return path
}

// token is an agent with a key of a FIDO token, made of software (OpenSSH,
// PROTOCOL.u2f, "SSH U2F Signatures").
type token struct {
	agent.Agent
	public  gossh.PublicKey
	private ed25519.PrivateKey
	flags   byte // 1: somebody touched it

	mu      sync.Mutex
	counter uint32 // guarded by mu
}

const tokenApplication = "ssh:"

func newToken(t *testing.T, flags byte) *token {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.ParsePublicKey(gossh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{gossh.KeyAlgoSKED25519, public, tokenApplication}))
	if err != nil {
		t.Fatal(err)
	}
	return &token{Agent: agent.NewKeyring(), public: key, private: private, flags: flags}
}

func (k *token) List() ([]*agent.Key, error) {
	return []*agent.Key{{Format: k.public.Type(), Blob: k.public.Marshal(), Comment: "token"}}, nil
}

func (k *token) Sign(key gossh.PublicKey, data []byte) (*gossh.Signature, error) {
	if string(key.Marshal()) != string(k.public.Marshal()) {
		return nil, errors.New("another key")
	}
	k.mu.Lock()
	k.counter++
	rest := binary.BigEndian.AppendUint32([]byte{k.flags}, k.counter)
	k.mu.Unlock()
	app, message := sha256.Sum256([]byte(tokenApplication)), sha256.Sum256(data)
	signed := append(append(app[:], rest...), message[:]...)
	return &gossh.Signature{Format: gossh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.private, signed), Rest: rest}, nil
}
