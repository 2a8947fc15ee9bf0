package algo

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// hostKeyVector is a line of testdata/hostkeys.txt.
type hostKeyVector struct {
	alg            string
	key, sig, data []byte
}

func hostKeyVectors(t testing.TB) (good, refused []hostKeyVector) {
	t.Helper()
	decode := func(s string) []byte {
		if s == "-" {
			return nil
		}
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, f := range readVectors(t, "hostkeys.txt", 4) {
		v := hostKeyVector{f[0], decode(f[1]), decode(f[2]), decode(f[3])}
		if v.sig == nil {
			refused = append(refused, v)
		} else {
			good = append(good, v)
		}
	}
	return good, refused
}

func TestVerifyHostVectors(t *testing.T) {
	good, _ := hostKeyVectors(t)
	seen := map[string]bool{}
	for _, v := range good {
		seen[v.alg] = true
		key, err := VerifyHost(v.alg, v.key, v.sig, v.data)
		if err != nil {
			t.Errorf("%s: %v", v.alg, err)
			continue
		}
		if !bytes.Equal(key.Marshal(), v.key) {
			t.Errorf("%s: returned another key", v.alg)
		}
		if _, cert := key.(*gossh.Certificate); cert != IsCertificateAlgorithm(v.alg) {
			t.Errorf("%s: key is a %T", v.alg, key)
		}
		// Other data, and a signature with a flipped bit at its end.
		if _, err := VerifyHost(v.alg, v.key, v.sig, append(slices.Clone(v.data), 0)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: other data: got %v, want ErrSignature", v.alg, err)
		}
		bad := slices.Clone(v.sig)
		bad[len(bad)-1] ^= 1
		if _, err := VerifyHost(v.alg, v.key, bad, v.data); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: flipped bit: got %v, want ErrSignature", v.alg, err)
		}
		for _, sig := range [][]byte{nil, v.sig[:len(v.sig)-1], append(slices.Clone(v.sig), 0)} {
			if _, err := VerifyHost(v.alg, v.key, sig, v.data); err == nil {
				t.Errorf("%s: a signature of %d bytes is taken", v.alg, len(sig))
			}
		}
		if _, err := VerifyHost(v.alg, append(slices.Clone(v.key), 0), v.sig, v.data); err == nil {
			t.Errorf("%s: a key with a byte behind it is taken", v.alg)
		}
	}
	for _, alg := range SupportedHostKeys() {
		if !seen[alg] && !strings.HasPrefix(alg, "sk-") {
			t.Errorf("no vector for %s", alg)
		}
	}
}

// Every key and signature under every algorithm but its own is refused, a
// certificate under its key's algorithm and SHA-1 under SHA-2's included.
func TestVerifyHostUnderAnotherAlgorithm(t *testing.T) {
	good, _ := hostKeyVectors(t)
	for _, v := range good {
		for _, alg := range append(SupportedHostKeys(), "", "ssh-dss", "none") {
			if alg == v.alg {
				continue
			}
			if _, err := VerifyHost(alg, v.key, v.sig, v.data); err == nil {
				t.Errorf("key and signature of %s pass for %s", v.alg, alg)
			}
		}
	}
}

func TestVerifyHostRefusesWeakKeys(t *testing.T) {
	_, refused := hostKeyVectors(t)
	for _, v := range refused {
		for _, alg := range append(SupportedHostKeys(), "ssh-dss") {
			sig := wire.AppendString(wire.AppendString(nil, UnderlyingAlgorithm(alg)), make([]byte, 128))
			if _, err := VerifyHost(alg, v.key, sig, nil); err == nil || errors.Is(err, ErrSignature) {
				t.Errorf("%s key under %s: got %v, want a word about the key", v.alg, alg, err)
			}
		}
		if key, err := gossh.ParsePublicKey(v.key); err == nil && HostKeyAlgorithms(key) != nil {
			t.Errorf("%s key serves %q", v.alg, HostKeyAlgorithms(key))
		}
	}
}

// The key of a certificate's authority has limits too.
func TestVerifyHostWeakAuthority(t *testing.T) {
	_, refused := hostKeyVectors(t)
	weak, err := gossh.ParsePublicKey(refused[0].key)
	if err != nil {
		t.Fatal(err)
	}
	signer := ed25519Signer(t)
	cert := &gossh.Certificate{
		Nonce: make([]byte, 32), Key: signer.PublicKey(), CertType: gossh.HostCert, SignatureKey: weak,
		Signature: &gossh.Signature{Format: "rsa-sha2-512", Blob: make([]byte, 128)},
	}
	sig, err := SignHost(rand.Reader, signer, "ssh-ed25519", []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = VerifyHost("ssh-ed25519-cert-v01@openssh.com", cert.Marshal(), sig, []byte("data"))
	if err == nil || !strings.Contains(err.Error(), "authority") {
		t.Errorf("got %v, want a word about the authority", err)
	}
}

// A key with a superfluous zero byte in its modulus is the same key in another
// encoding: another entry in known_hosts.
func TestVerifyHostCanonicalKey(t *testing.T) {
	good, _ := hostKeyVectors(t)
	i := slices.IndexFunc(good, func(v hostKeyVector) bool { return v.alg == "rsa-sha2-512" })
	v := good[i]
	p := wire.NewParser(v.key)
	name, e, n := p.String(), p.Bytes(), p.Bytes()
	if err := p.Done(); err != nil {
		t.Fatal(err)
	}
	b := wire.AppendString(wire.AppendString(nil, name), e)
	b = wire.AppendString(b, append([]byte{0}, n...))
	if _, err := VerifyHost(v.alg, b, v.sig, v.data); err == nil {
		t.Error("a key in another encoding is taken")
	}
}

// RFC 8332, section 3, lets a verifier take RSA signatures without their leading
// zeros; there are servers that strip them.
func TestVerifyHostShortRSASignature(t *testing.T) {
	signer := rsaSigner(t)
	for i := range 5000 {
		data := []byte{byte(i >> 8), byte(i)}
		blob, err := SignHost(rand.Reader, signer, "rsa-sha2-256", data)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := parseSignature(blob)
		if err != nil {
			t.Fatal(err)
		}
		if sig.Blob[0] != 0 {
			continue
		}
		short := wire.AppendString(wire.AppendString(nil, sig.Format), sig.Blob[1:])
		if _, err := VerifyHost("rsa-sha2-256", signer.PublicKey().Marshal(), short, data); err != nil {
			t.Errorf("a signature without its leading zero: %v", err)
		}
		return
	}
	t.Error("no signature with a leading zero found")
}

var rsaOnce = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaSigner(t testing.TB) gossh.Signer {
	t.Helper()
	key, err := rsaOnce()
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, key)
}

func ed25519Signer(t testing.TB) gossh.Signer {
	return newSigner(t, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
}

func newSigner(t testing.TB, key crypto.Signer) gossh.Signer {
	t.Helper()
	s, err := gossh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// certify returns a signer whose key is a host certificate.
func certify(t testing.TB, signer gossh.Signer) gossh.Signer {
	t.Helper()
	cert := &gossh.Certificate{Key: signer.PublicKey(), CertType: gossh.HostCert, ValidBefore: gossh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ed25519Signer(t)); err != nil {
		t.Fatal(err)
	}
	s, err := gossh.NewCertSigner(cert, signer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignHostVerifies(t *testing.T) {
	signers := []gossh.Signer{ed25519Signer(t), rsaSigner(t), newSecurityKey(t)}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, newSigner(t, key))
	}
	for _, s := range slices.Clone(signers) {
		signers = append(signers, certify(t, s))
	}
	data := []byte("exchange hash")
	seen := map[string]bool{}
	for _, s := range signers {
		algs := HostKeyAlgorithms(s.PublicKey())
		if len(algs) == 0 {
			t.Errorf("%s serves nothing", s.PublicKey().Type())
		}
		for _, alg := range algs {
			seen[alg] = true
			sig, err := SignHost(rand.Reader, s, alg, data)
			if err != nil {
				t.Errorf("%s: sign: %v", alg, err)
				continue
			}
			if _, err := VerifyHost(alg, s.PublicKey().Marshal(), sig, data); err != nil {
				t.Errorf("%s: verify: %v", alg, err)
			}
		}
		for _, alg := range SupportedHostKeys() {
			if slices.Contains(algs, alg) || alg == gossh.KeyAlgoRSA {
				continue
			}
			if _, err := SignHost(rand.Reader, s, alg, data); err == nil {
				t.Errorf("a %s key signs for %s", s.PublicKey().Type(), alg)
			}
		}
	}
	for _, alg := range DefaultHostKeys() {
		if !seen[alg] && !strings.HasPrefix(alg, "sk-ecdsa") {
			t.Errorf("nobody signed for %s", alg)
		}
	}
}

// plainSigner hides all but the plain interface: for RSA its signatures are
// SHA-1's.
type plainSigner struct{ s gossh.Signer }

func (p plainSigner) PublicKey() gossh.PublicKey { return p.s.PublicKey() }
func (p plainSigner) Sign(rand io.Reader, data []byte) (*gossh.Signature, error) {
	return p.s.Sign(rand, data)
}

func TestSignHostPlainSigner(t *testing.T) {
	if _, err := SignHost(rand.Reader, plainSigner{ed25519Signer(t)}, "ssh-ed25519", nil); err != nil {
		t.Errorf("Ed25519: %v", err)
	}
	if _, err := SignHost(rand.Reader, plainSigner{rsaSigner(t)}, "rsa-sha2-256", nil); err == nil {
		t.Error("RSA: signs although nobody chose the hash")
	}
}

// stubbornSigner signs with what it likes, as agents do that are too old for
// RFC 8332.
type stubbornSigner struct{ gossh.AlgorithmSigner }

func (s stubbornSigner) SignWithAlgorithm(rand io.Reader, data []byte, _ string) (*gossh.Signature, error) {
	return s.AlgorithmSigner.SignWithAlgorithm(rand, data, gossh.KeyAlgoRSA)
}

func TestSignHostOtherFormat(t *testing.T) {
	s := stubbornSigner{rsaSigner(t).(gossh.AlgorithmSigner)}
	if _, err := SignHost(rand.Reader, s, "rsa-sha2-512", nil); err == nil || !strings.Contains(err.Error(), "ssh-rsa") {
		t.Errorf("got %v, want a word about ssh-rsa", err)
	}
}

func TestUnderlyingAlgorithm(t *testing.T) {
	for alg, want := range map[string]string{
		"ssh-ed25519":                                 "ssh-ed25519",
		"ssh-ed25519-cert-v01@openssh.com":            "ssh-ed25519",
		"rsa-sha2-256-cert-v01@openssh.com":           "rsa-sha2-256",
		"rsa-sha2-512":                                "rsa-sha2-512",
		"ecdsa-sha2-nistp384-cert-v01@openssh.com":    "ecdsa-sha2-nistp384",
		"sk-ssh-ed25519@openssh.com":                  "sk-ssh-ed25519@openssh.com",
		"sk-ssh-ed25519-cert-v01@openssh.com":         "sk-ssh-ed25519@openssh.com",
		"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com": "sk-ecdsa-sha2-nistp256@openssh.com",
		"unknown-cert-v01@openssh.com":                "unknown-cert-v01@openssh.com",
	} {
		if got := UnderlyingAlgorithm(alg); got != want {
			t.Errorf("%s: got %s, want %s", alg, got, want)
		}
	}
	// The names that we derive are those that x/crypto knows.
	for _, name := range []string{
		gossh.CertAlgoED25519v01, gossh.CertAlgoECDSA256v01, gossh.CertAlgoECDSA384v01, gossh.CertAlgoECDSA521v01,
		gossh.CertAlgoSKED25519v01, gossh.CertAlgoSKECDSA256v01, gossh.CertAlgoRSASHA256v01, gossh.CertAlgoRSASHA512v01,
	} {
		if !IsCertificateAlgorithm(name) {
			t.Errorf("%s is not known as a certificate's", name)
		}
	}
}

// securityKey is a FIDO authenticator in software (OpenSSH PROTOCOL.u2f).
type securityKey struct {
	key   ed25519.PrivateKey
	pub   gossh.PublicKey
	flags byte
}

const skApplication = "ssh:"

func newSecurityKey(t testing.TB) *securityKey {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	b := wire.AppendString(nil, gossh.KeyAlgoSKED25519)
	b = wire.AppendString(b, []byte(key.Public().(ed25519.PublicKey)))
	pub, err := gossh.ParsePublicKey(wire.AppendString(b, skApplication))
	if err != nil {
		t.Fatal(err)
	}
	return &securityKey{key, pub, 1} // user present
}

func (s *securityKey) PublicKey() gossh.PublicKey { return s.pub }

func (s *securityKey) Sign(_ io.Reader, data []byte) (*gossh.Signature, error) {
	app, msg := sha256.Sum256([]byte(skApplication)), sha256.Sum256(data)
	rest := wire.AppendUint32([]byte{s.flags}, 42)
	signed := slices.Concat(app[:], rest, msg[:])
	return &gossh.Signature{Format: gossh.KeyAlgoSKED25519, Blob: ed25519.Sign(s.key, signed), Rest: rest}, nil
}

func TestVerifyHostSecurityKey(t *testing.T) {
	const alg = "sk-ssh-ed25519@openssh.com"
	s := newSecurityKey(t)
	data := []byte("data")
	sig, err := SignHost(rand.Reader, s, alg, data)
	if err != nil {
		t.Fatal(err)
	}
	key := s.PublicKey().Marshal()
	if _, err := VerifyHost(alg, key, sig, data); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"no counter":      sig[:len(sig)-4],
		"a byte too many": append(slices.Clone(sig), 0),
		"other counter":   append(slices.Clone(sig[:len(sig)-1]), 43),
	} {
		if _, err := VerifyHost(alg, key, bad, data); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	s.flags = 0
	if sig, err = SignHost(rand.Reader, s, alg, data); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyHost(alg, key, sig, data); !errors.Is(err, ErrSignature) {
		t.Errorf("without a touch: got %v, want ErrSignature", err)
	}
}

func TestMaxRSABits(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(1), MaxRSABits)
	b := wire.AppendString(nil, "ssh-rsa")
	b = wire.AppendMpint(b, []byte{1, 0, 1})
	b = wire.AppendMpint(b, n.Add(n, big.NewInt(1)).Bytes())
	sig := wire.AppendString(wire.AppendString(nil, "rsa-sha2-256"), make([]byte, 2049))
	if _, err := VerifyHost("rsa-sha2-256", b, sig, nil); err == nil || errors.Is(err, ErrSignature) {
		t.Errorf("got %v, want a word about the key", err)
	}
}
