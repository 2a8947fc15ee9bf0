package userauth

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/internal/wire"
)

// Key is a key to log in with, or a certificate: whatever PublicKey returns is
// shown to the server. The Signer should be a gossh.AlgorithmSigner for RSA keys,
// and a ContextSigner where signing may take time.
type Key struct {
	gossh.Signer
	// Comment says where the key comes from, for messages.
	Comment string
	// Probe makes sure that the server would take the key before it is used:
	// for signers that bother a person, or that need a passphrase first.
	Probe bool
	// Known says that the server is expected to take the key, so that it is
	// used without asking. A key that is the only one left counts as known.
	Known bool
	// Open returns the signer of a key that nobody knows before: of a file in an
	// old format whose passphrase has to be typed first. It is called once, when
	// it is the key's turn, after the server said that it takes keys. Signer is
	// nil then.
	Open func(ctx context.Context) (gossh.Signer, error)
}

// id tells keys apart: the wire form, "" before Open.
func (k *Key) id() string {
	if k.Signer == nil {
		return ""
	}
	return string(k.PublicKey().Marshal())
}

// ContextSigner is a Signer that may wait, for a person or for an agent.
type ContextSigner interface {
	gossh.Signer
	// SignContext signs data with an algorithm such as rsa-sha2-512: what the
	// signature is to be called.
	SignContext(ctx context.Context, data []byte, algorithm string) (*gossh.Signature, error)
}

// publickey tries the next key (RFC 4252, section 7).
func (c *client) publickey(ctx context.Context) (*Result, error) {
	k := c.nextKey(ctx)
	if k.Signer == nil {
		return nil, c.open(ctx, k)
	}
	alone := k.Known || c.keysLeft() == 1
	id := k.PublicKey().Marshal()
	c.key = string(id)
	c.usedKeys[c.key] = true
	label := keyLabel(k.PublicKey())
	name := "publickey " + strings.TrimSpace(oneLine(k.Comment)+" "+label)

	body := &wire.PublickeyBody{Algorithm: c.algorithm(k), Key: id}
	probe := k.Probe || !alone || !c.settled() && !c.cfg.Pipeline
	if probe {
		c.tried(name)
		switch answer, err := c.probe(ctx, body, label); {
		case err != nil:
			return nil, err
		case answer == wire.NumUserauthSuccess:
			return &Result{Method: wire.MethodNone}, nil
		case answer == wire.NumUserauthFailure:
			return nil, nil
		}
	}
	method := c.bind(body)
	body.HasSignature = true
	sig, err := c.sign(ctx, k, body.Algorithm, signedData(c.pc.SessionID(), c.cfg.User, method, body))
	if err != nil {
		c.note("%s does not sign: %v", oneLine(k.Comment), err)
		return nil, ctx.Err()
	}
	if !probe {
		c.tried(name)
	}
	body.Signature = sig
	c.behind = c.cfg.Behind
	if err := c.request(ctx, method, label, false, body.Append(nil)); err != nil {
		return nil, err
	}
	ok, err := c.verdict()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, nil
	}
	return &Result{Method: wire.MethodPublickey, Fingerprint: gossh.FingerprintSHA256(k.PublicKey()), Hostbound: body.Hostbound,
		Behind: c.cfg.Behind != nil}, nil
}

// keyLabel names a key in errors and events.
func keyLabel(k gossh.PublicKey) string { return k.Type() + " " + gossh.FingerprintSHA256(k) }

// settled reports whether the server's extensions are known, as far as it has
// any: they come before SERVICE_ACCEPT.
func (c *client) settled() bool {
	_, sigAlgs := c.pc.PeerExtension(wire.ExtServerSigAlgs)
	_, hostbound := c.pc.PeerExtension(wire.ExtHostbound)
	return c.accepted || sigAlgs || hostbound
}

// bind makes a body host-bound when the server offers that (OpenSSH PROTOCOL,
// section 3.1: version "0"), and returns the method's name.
func (c *client) bind(body *wire.PublickeyBody) string {
	if v, _ := c.pc.PeerExtension(wire.ExtHostbound); string(v) == "0" && len(c.pc.HostKey()) > 0 && !c.cfg.Unbound {
		body.Hostbound, body.HostKey = true, c.pc.HostKey()
		return wire.MethodHostbound
	}
	return wire.MethodPublickey
}

// probe asks whether the server would take a key. It returns the number of the
// answer: PK_OK, FAILURE, or the SUCCESS of a server that lets everybody in.
func (c *client) probe(ctx context.Context, body *wire.PublickeyBody, label string) (answer byte, err error) {
	method := c.bind(body)
	if err := c.request(ctx, method, label, true, body.Append(nil)); err != nil {
		return 0, err
	}
	p, err := c.read()
	if err != nil {
		return 0, err
	}
	if p[0] != wire.NumUserauthPKOK {
		_, err := c.judged(p)
		return p[0], err
	}
	var m wire.UserauthPKOK
	if err := wire.Parse(p, &m); err != nil {
		return 0, c.breach("%v", err)
	}
	// Some servers name the key's type in place of the algorithm, for RSA. As
	// the key is the right one, nothing depends on it.
	if string(m.Key) != string(body.Key) {
		return 0, c.breach("USERAUTH_PK_OK for a key that was not offered")
	}
	c.report("key accepted")
	return p[0], nil
}

// open gets the signer of a key, or drops the key.
func (c *client) open(ctx context.Context, k *Key) error {
	signer, err := k.Open(ctx)
	if err == nil {
		k.Signer = signer
		return nil
	}
	c.note("%s: %v", oneLine(k.Comment), err)
	i := slices.IndexFunc(c.keys, func(k Key) bool { return k.Signer == nil }) // k is the first of these
	c.keys = slices.Delete(c.keys, i, i+1)
	return ctx.Err()
}

// nextKey returns the first key that was not used yet and that the server may
// take. It may have to be opened.
func (c *client) nextKey(ctx context.Context) *Key {
	c.readKeys(ctx)
	for i := range c.keys {
		k := &c.keys[i]
		if k.Signer == nil {
			return k
		}
		id := k.id()
		if c.usedKeys[id] {
			continue
		}
		if c.algorithm(k) != "" {
			return k
		}
		c.usedKeys[id] = true
		who := "the server takes"
		if len(candidates(k, c.cfg.Algorithms)) == 0 { // ssh_config: PubkeyAcceptedAlgorithms
			who = "we may make"
		}
		c.note("%s no signature that %s %s can make", who, oneLine(k.Comment), keyLabel(k.PublicKey()))
	}
	return nil
}

// readKeys gets the keys. The first one that is Known goes before all others.
func (c *client) readKeys(ctx context.Context) {
	if c.keysRead || c.cfg.Keys == nil {
		return
	}
	c.keysRead = true
	keys, err := c.cfg.Keys(ctx)
	if err != nil {
		c.note("keys: %v", err)
	}
	c.keys = slices.Clone(keys)
	if i := slices.IndexFunc(c.keys, func(k Key) bool { return k.Known }); i > 0 {
		k := c.keys[i]
		c.keys = slices.Insert(slices.Delete(c.keys, i, i+1), 0, k)
	}
}

// keysLeft returns how many different keys were not used yet; all that are to be
// opened count as one.
func (c *client) keysLeft() int {
	left := map[string]bool{}
	for i := range c.keys {
		if id := c.keys[i].id(); !c.usedKeys[id] {
			left[id] = true
		}
	}
	return len(left)
}

// algorithm chooses the signature algorithm for a key, "" if there is none.
func (c *client) algorithm(k *Key) string {
	can := candidates(k, c.cfg.Algorithms)
	v, listed := c.pc.PeerExtension(wire.ExtServerSigAlgs)
	if !listed {
		// Without server-sig-algs (RFC 8308, section 3.1) rsa-sha2-256 is the
		// safest guess: servers may lack 512, which RFC 8332 leaves optional.
		if i := slices.IndexFunc(can, isRSA256); i >= 0 {
			return can[i]
		}
		if len(can) > 0 {
			return can[0]
		}
		return ""
	}
	takes := strings.Split(string(v), ",")
	for _, a := range can {
		if slices.Contains(takes, a) || slices.Contains(takes, algo.UnderlyingAlgorithm(a)) {
			return a
		}
	}
	// OpenSSH before 7.4 lists its RSA algorithms only.
	onlyRSA := !slices.ContainsFunc(takes, func(a string) bool { return !strings.HasPrefix(a, "rsa-sha2-") && a != gossh.KeyAlgoRSA })
	if onlyRSA && len(can) > 0 && !strings.Contains(can[0], "rsa") {
		return can[0]
	}
	return ""
}

func isRSA256(a string) bool { return algo.UnderlyingAlgorithm(a) == gossh.KeyAlgoRSASHA256 }

// candidates returns the algorithms that a key's signer can make and that are
// allowed, best first.
func candidates(k *Key, allowed []string) []string {
	can := algo.HostKeyAlgorithms(k.PublicKey())
	if len(can) > 0 && k.PublicKey().Type() == gossh.KeyAlgoRSA && slices.Contains(allowed, gossh.KeyAlgoRSA) {
		can = append(can, gossh.KeyAlgoRSA)
	}
	return slices.DeleteFunc(can, func(a string) bool {
		format := algo.UnderlyingAlgorithm(a)
		if s, ok := k.Signer.(gossh.MultiAlgorithmSigner); ok && !slices.Contains(s.Algorithms(), format) && !slices.Contains(s.Algorithms(), a) {
			return true
		}
		return allowed != nil && !slices.Contains(allowed, a)
	})
}

// sign signs data and returns the signature's blob.
func (c *client) sign(ctx context.Context, k *Key, algorithm string, data []byte) ([]byte, error) {
	signer := k.Signer
	if s, ok := signer.(ContextSigner); ok {
		signer = boundSigner{s, ctx}
	}
	return algo.SignHost(rand.Reader, signer, algorithm, data)
}

// boundSigner gives a ContextSigner the context of one signature.
type boundSigner struct {
	ContextSigner
	ctx context.Context
}

// SignWithAlgorithm implements gossh.AlgorithmSigner.
func (s boundSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	sig, err := s.SignContext(s.ctx, data, algorithm)
	if err == nil && sig == nil {
		err = errors.New("no signature")
	}
	return sig, err
}
