package algo

import (
	"crypto/rsa"
	"fmt"
	"io"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// Sizes of RSA keys accepted, in bits.
const (
	MinRSABits = 2048
	MaxRSABits = 16384
)

// keyAlgorithm is a public key or host key algorithm.
type keyAlgorithm struct {
	name      string
	keyType   string // the type name in the key's blob
	signature string // the format name in the signature's blob
}

// keyAlgorithms is in the order in which a client offers them: certificates
// first, as OpenSSH does.
var keyAlgorithms = []keyAlgorithm{
	{gossh.CertAlgoED25519v01, gossh.CertAlgoED25519v01, gossh.KeyAlgoED25519},
	{gossh.CertAlgoECDSA256v01, gossh.CertAlgoECDSA256v01, gossh.KeyAlgoECDSA256},
	{gossh.CertAlgoECDSA384v01, gossh.CertAlgoECDSA384v01, gossh.KeyAlgoECDSA384},
	{gossh.CertAlgoECDSA521v01, gossh.CertAlgoECDSA521v01, gossh.KeyAlgoECDSA521},
	{gossh.CertAlgoSKED25519v01, gossh.CertAlgoSKED25519v01, gossh.KeyAlgoSKED25519},
	{gossh.CertAlgoSKECDSA256v01, gossh.CertAlgoSKECDSA256v01, gossh.KeyAlgoSKECDSA256},
	{gossh.CertAlgoRSASHA512v01, gossh.CertAlgoRSAv01, gossh.KeyAlgoRSASHA512},
	{gossh.CertAlgoRSASHA256v01, gossh.CertAlgoRSAv01, gossh.KeyAlgoRSASHA256},
	{gossh.KeyAlgoED25519, gossh.KeyAlgoED25519, gossh.KeyAlgoED25519},
	{gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA256},
	{gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA384},
	{gossh.KeyAlgoECDSA521, gossh.KeyAlgoECDSA521, gossh.KeyAlgoECDSA521},
	{gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKED25519},
	{gossh.KeyAlgoSKECDSA256, gossh.KeyAlgoSKECDSA256, gossh.KeyAlgoSKECDSA256},
	{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSA, gossh.KeyAlgoRSASHA512},
	{gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSA, gossh.KeyAlgoRSASHA256},
}

func lookupKeyAlgorithm(name string) (keyAlgorithm, bool) {
	return lookup(keyAlgorithms, func(a keyAlgorithm) bool { return a.name == name })
}

// DefaultHostKeys returns the host key algorithms that a client offers, most
// wanted first.
func DefaultHostKeys() []string {
	var names []string
	for _, a := range keyAlgorithms {
		names = append(names, a.name)
	}
	return names
}

// SignatureAlgorithms returns the public key algorithms that a server accepts in
// logins: the value of server-sig-algs (RFC 8308, section 3.1) and more.
func SignatureAlgorithms() []string { return DefaultHostKeys() }

// KeyAlgorithms returns the algorithms that key can serve, most wanted first.
func KeyAlgorithms(key gossh.PublicKey) []string {
	var names []string
	for _, a := range keyAlgorithms {
		if a.keyType == key.Type() {
			names = append(names, a.name)
		}
	}
	return names
}

// HostKeyAlgorithms is KeyAlgorithms for a server's key.
func HostKeyAlgorithms(key gossh.PublicKey) []string { return KeyAlgorithms(key) }

// SignatureFormat returns the name that a signature by algorithm carries: that
// of the plain algorithm for a certificate's.
func SignatureFormat(algorithm string) (string, bool) {
	a, ok := lookupKeyAlgorithm(algorithm)
	return a.signature, ok
}

// VerifyHost checks a server's signature over data under the negotiated host
// key algorithm, and returns its key. Key type and signature format must be just
// those that the algorithm demands.
func VerifyHost(algorithm string, keyBlob, sigBlob, data []byte) (gossh.PublicKey, error) {
	key, err := gossh.ParsePublicKey(keyBlob)
	if err != nil {
		return nil, fmt.Errorf("parse key: %w", err)
	}
	return key, Verify(algorithm, key, sigBlob, data)
}

// Verify checks a signature over data by key under algorithm.
func Verify(algorithm string, key gossh.PublicKey, sigBlob, data []byte) error {
	a, ok := lookupKeyAlgorithm(algorithm)
	if !ok {
		return fmt.Errorf("algorithm %q is not supported", algorithm)
	}
	if key.Type() != a.keyType {
		return fmt.Errorf("key of type %s does not fit algorithm %s", key.Type(), algorithm)
	}
	if err := CheckKeySize(key); err != nil {
		return err
	}
	p := wire.NewParser(sigBlob)
	sig := gossh.Signature{Format: p.String(), Blob: p.Bytes()}
	if strings.HasPrefix(a.signature, "sk-") {
		sig.Rest = p.Rest() // flags and counter
	}
	if err := p.Done(); err != nil {
		return fmt.Errorf("parse signature: %w", err)
	}
	if sig.Format != a.signature {
		return fmt.Errorf("signature of format %q does not fit algorithm %s", sig.Format, algorithm)
	}
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key
	}
	return key.Verify(data, &sig)
}

// CheckKeySize refuses RSA keys below MinRSABits or above MaxRSABits.
func CheckKeySize(key gossh.PublicKey) error {
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key
	}
	c, ok := key.(gossh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok {
		if bits := r.N.BitLen(); bits < MinRSABits || bits > MaxRSABits {
			return fmt.Errorf("RSA key of %d bits; %d to %d are accepted", bits, MinRSABits, MaxRSABits)
		}
	}
	return nil
}

// SignHost signs data under algorithm and returns the signature's blob.
func SignHost(rand io.Reader, signer gossh.Signer, algorithm string, data []byte) ([]byte, error) {
	sig, err := Sign(rand, signer, algorithm, data)
	if err != nil {
		return nil, err
	}
	b := wire.AppendString(nil, sig.Format)
	b = wire.AppendString(b, sig.Blob)
	return append(b, sig.Rest...), nil
}

// Sign signs data under algorithm, which must fit the signer's key.
func Sign(rand io.Reader, signer gossh.Signer, algorithm string, data []byte) (*gossh.Signature, error) {
	a, ok := lookupKeyAlgorithm(algorithm)
	if !ok || !slices.Contains(KeyAlgorithms(signer.PublicKey()), algorithm) {
		return nil, fmt.Errorf("key of type %s can't sign for algorithm %s", signer.PublicKey().Type(), algorithm)
	}
	if s, ok := signer.(gossh.AlgorithmSigner); ok {
		sig, err := s.SignWithAlgorithm(rand, data, a.signature)
		if err != nil {
			return nil, err
		}
		if sig.Format != a.signature {
			return nil, fmt.Errorf("signer answered with format %q, want %q", sig.Format, a.signature)
		}
		return sig, nil
	}
	sig, err := signer.Sign(rand, data)
	if err != nil {
		return nil, err
	}
	if sig.Format != a.signature {
		return nil, fmt.Errorf("signer can't make %s signatures", a.signature)
	}
	return sig, nil
}
