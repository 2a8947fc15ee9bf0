package agent

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// loginData is what is signed for a login.
func loginData(sessionID []byte, user, method, algorithm string, key []byte, hostKey []byte) []byte {
	b := wire.AppendString(nil, sessionID)
	b = wire.AppendString(append(b, wire.NumUserauthRequest), user)
	b = wire.AppendString(wire.AppendString(b, wire.ServiceConnection), method)
	b = wire.AppendString(wire.AppendString(append(b, 1), algorithm), key)
	if hostKey != nil {
		b = wire.AppendString(b, hostKey)
	}
	return b
}

// certifiedHost is a host key with a certificate by testKeys.other.
func certifiedHost(t testing.TB, key gossh.Signer, change func(*gossh.Certificate)) gossh.Signer {
	t.Helper()
	cert := &gossh.Certificate{Key: key.PublicKey(), CertType: gossh.HostCert, KeyId: "host", ValidBefore: gossh.CertTimeInfinity}
	if change != nil {
		change(cert)
	}
	if err := cert.SignCert(rand.Reader, testKeys.other); err != nil {
		t.Fatal(err)
	}
	s, err := gossh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Both agents show and use keys with destinations for the same ways and logins,
// whatever these are, but for those behind a binding that failed (TestGap). The seed is
// the test's name for a case.
func TestChainsAsSSHAgent(t *testing.T) {
	d := newDuo(t)
	cases := 1500
	if testing.Short() {
		cases = 200
	}
	used := 0
	for seed := range cases {
		c := newChain(t, uint64(seed))
		d.empty()
		for i, k := range c.keys {
			d.line().ask(fmt.Sprintf("chain %d: add key %d with %+v", seed, i, k.Destinations), addRequest(t, k))
		}
		l := d.line()
		for i, b := range c.way {
			l.ask(fmt.Sprintf("chain %d: binding %d", seed, i), b)
		}
		for i, request := range c.requests {
			if l.ask(fmt.Sprintf("chain %d: request %d", seed, i), request)[0] == numSignature {
				used++
			}
		}
	}
	t.Logf("%d chains, %d replies compared, %d signatures made", cases, d.compared, used)
	if used < cases/20 {
		t.Errorf("only %d of %d chains led to a signature: the test tries too little", used, cases)
	}
}

// chain is a way over some hosts, keys that may or may not be for it, and what is
// asked at its end.
type chain struct {
	*mathrand.Rand
	hosts    []gossh.Signer
	names    []string
	keys     []AddedKey
	way      [][]byte
	requests [][]byte
}

func newChain(t testing.TB, seed uint64) *chain {
	t.Helper()
	c := &chain{Rand: mathrand.New(mathrand.NewPCG(seed, 7)), names: []string{"a", "b", "c", "d", "e"}}
	c.hosts = append(c.hosts, testKeys.hosts[:3]...)
	c.hosts = append(c.hosts,
		certifiedHost(t, testKeys.hosts[3], func(cert *gossh.Certificate) { cert.ValidPrincipals = []string{"x", c.of("d", "d", "e")} }),
		certifiedHost(t, testKeys.hosts[2], func(cert *gossh.Certificate) {
			if c.IntN(4) == 0 {
				cert.ValidBefore = uint64(time.Now().Unix()) - 100
			}
			if c.IntN(4) == 0 {
				cert.CertType = gossh.UserCert
			}
			cert.ValidPrincipals = []string{"e"}
		}))

	// A way that the destinations often, but not always, allow.
	length := c.IntN(4)
	path := make([]int, length)
	for i := range path {
		path[i] = c.IntN(len(c.hosts))
	}
	var ds []Destination
	from := Hop{}
	for _, h := range path {
		to := c.hop(h)
		if c.IntN(8) > 0 {
			ds = append(ds, Destination{From: from, To: to})
		}
		from = to
		from.User = ""
	}
	for range c.IntN(3) {
		one := Destination{To: c.hop(c.IntN(len(c.hosts)))}
		if c.IntN(2) == 0 {
			one.From = c.hop(c.IntN(len(c.hosts)))
			one.From.User = ""
		}
		ds = append(ds, one)
	}
	if c.IntN(3) == 0 && length > 0 { // leads on from the end
		ds = append(ds, Destination{From: from, To: c.hop(c.IntN(len(c.hosts)))})
	}
	c.keys = []AddedKey{{PrivateKey: testKeys.raw, Comment: "user", Destinations: ds}, {PrivateKey: testKeys.hostRaw[0], Comment: "free"}}

	var last Session
	for i, h := range path {
		s := session(t, c.hosts[h], fmt.Sprintf("session %d of %d", i, seed))
		forwarding := i < length-1
		if c.IntN(10) == 0 {
			forwarding = !forwarding
		}
		last = s
		c.way = append(c.way, binding(s, forwarding))
		switch c.IntN(12) {
		case 0: // a proof that is wrong, behind one that is right
			if i == length-1 {
				s.ID = []byte("another")
				c.way = append(c.way, binding(s, true))
			}
		case 1: // said again
			c.way = append(c.way, binding(s, forwarding))
		}
	}
	c.ask(last)
	return c
}

// hop names a host, with a user or not.
func (c *chain) hop(i int) Hop {
	h := Hop{User: c.of("", "", "alice", "al*", "*", "b?b", "ali"), Hostname: c.names[i]}
	key := c.hosts[i].PublicKey()
	if cert, ok := key.(*gossh.Certificate); ok && c.IntN(6) > 0 {
		h.Keys = append(h.Keys, HostKey{Blob: cert.SignatureKey.Marshal(), Authority: c.IntN(10) > 0})
	} else {
		h.Keys = append(h.Keys, HostKey{Blob: key.Marshal(), Authority: c.IntN(10) == 0})
	}
	if c.IntN(6) == 0 {
		h.Keys = append([]HostKey{{Blob: c.hosts[c.IntN(3)].PublicKey().Marshal()}}, h.Keys...)
	}
	return h
}

func (c *chain) of(words ...string) string { return words[c.IntN(len(words))] }

// ask fills in requests: a list, logins that may be good, and what they are to
// be told from, in any order.
func (c *chain) ask(last Session) {
	list := []byte{numRequestKeys}
	c.requests = append(c.requests, list)
	user, free := testKeys.user.PublicKey(), testKeys.hosts[0].PublicKey()
	for range 4 {
		key, id, hostKey, algorithm := user, last.ID, last.HostKey, gossh.KeyAlgoED25519
		method, named := c.of(wire.MethodHostbound, wire.MethodHostbound, wire.MethodPublickey), user
		switch c.IntN(16) {
		case 0:
			id = []byte("elsewhere")
		case 1:
			hostKey = c.hosts[0].PublicKey().Marshal()
		case 2:
			algorithm = gossh.KeyAlgoRSASHA512
		case 3:
			named = free
		case 4:
			key = free
		case 5:
			method = "password"
		}
		if method != wire.MethodHostbound {
			hostKey = nil
		}
		data := loginData(id, c.of("alice", "alice", "bob", ""), method, algorithm, named.Marshal(), hostKey)
		switch c.IntN(16) {
		case 0:
			data = append(data, 0)
		case 1:
			data = data[:c.IntN(len(data))]
		case 2:
			data = []byte("SSHSIG and what is signed")
		}
		c.requests = append(c.requests, signing(key, string(data), 0))
	}
	switch c.IntN(4) {
	case 0:
		c.requests = append(c.requests, removing(user), list)
	case 1:
		again, err := (&AddedKey{PrivateKey: testKeys.raw, Comment: "without limits"}).append(nil)
		if err == nil {
			c.requests = append(c.requests, again, list)
		}
	}
}
