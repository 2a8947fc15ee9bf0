package algo

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

const (
	// MinRSABits and MaxRSABits bound the modulus of RSA keys: of host keys, of
	// keys to log in with, and of the keys that sign certificates. 1024 is where
	// OpenSSH's RequiredRSASize begins; who wants what RFC 8332, section 5.1
	// recommends, which is 2048, looks at RSABits.
	MinRSABits = 1024
	// MaxRSABits is the largest RSA key accepted, in bits.
	MaxRSABits = 16384
)

// ErrSignature says that a signature does not fit the key and the data.
var ErrSignature = errors.New("bad signature")

// hostKeyAlgo is a public key algorithm in its three names.
type hostKeyAlgo struct {
	name      string // as it is negotiated
	keyType   string // inside the key's blob
	signature string // inside the signature's blob
	cert      bool
}

// hostKeyAlgos in OpenSSH's order of preference: certificates first, since a
// client that prefers them can verify a host it has not seen.
var hostKeyAlgos = append(append(certAlgos(),
	plainAlgos...),
	hostKeyAlgo{name: gossh.KeyAlgoRSA, keyType: gossh.KeyAlgoRSA, signature: gossh.KeyAlgoRSA}, // with SHA-1
)

var plainAlgos = []hostKeyAlgo{
	sameNames(gossh.KeyAlgoED25519),
	sameNames(gossh.KeyAlgoECDSA256),
	sameNames(gossh.KeyAlgoECDSA384),
	sameNames(gossh.KeyAlgoECDSA521),
	sameNames(gossh.KeyAlgoSKED25519),
	sameNames(gossh.KeyAlgoSKECDSA256),
	{name: gossh.KeyAlgoRSASHA512, keyType: gossh.KeyAlgoRSA, signature: gossh.KeyAlgoRSASHA512},
	{name: gossh.KeyAlgoRSASHA256, keyType: gossh.KeyAlgoRSA, signature: gossh.KeyAlgoRSASHA256},
}

func sameNames(name string) hostKeyAlgo {
	return hostKeyAlgo{name: name, keyType: name, signature: name}
}

// certAlgos derives the certificate algorithms from the plain ones (OpenSSH
// PROTOCOL.certkeys): "-cert-v01@openssh.com" goes behind the name, or in place
// of its own domain.
func certAlgos() []hostKeyAlgo {
	certName := func(s string) string { return strings.TrimSuffix(s, "@openssh.com") + "-cert-v01@openssh.com" }
	algos := slices.Clone(plainAlgos)
	for i, a := range algos {
		algos[i] = hostKeyAlgo{name: certName(a.name), keyType: certName(a.keyType), signature: a.signature, cert: true}
	}
	return algos
}

func lookupHostKey(name string) (hostKeyAlgo, bool) {
	for _, a := range hostKeyAlgos {
		if a.name == name {
			return a, true
		}
	}
	return hostKeyAlgo{}, false
}

// UnderlyingAlgorithm returns the signature algorithm of a public key
// algorithm: rsa-sha2-256 for rsa-sha2-256-cert-v01@openssh.com, alg itself
// when it is not of a certificate. Signatures carry this name.
func UnderlyingAlgorithm(alg string) string {
	if a, ok := lookupHostKey(alg); ok {
		return a.signature
	}
	return alg
}

// IsCertificateAlgorithm reports whether alg names keys that are certificates.
func IsCertificateAlgorithm(alg string) bool {
	a, ok := lookupHostKey(alg)
	return ok && a.cert
}

// HostKeyAlgorithms returns the algorithms that a host key, or a host
// certificate, can serve, best first. It is empty for a key that is too small
// or of a type that adit does not have. ssh-rsa, which is SHA-1, is not listed.
func HostKeyAlgorithms(key gossh.PublicKey) []string {
	if checkKey(key) != nil {
		return nil
	}
	var names []string
	for _, a := range hostKeyAlgos {
		if a.keyType == key.Type() && a.signature != gossh.KeyAlgoRSA {
			names = append(names, a.name)
		}
	}
	return names
}

// SignHost signs data with a host key for the negotiated algorithm alg and
// returns the signature's blob (RFC 4253, section 6.6). rand serves signature
// schemes that need randomness. The signer's key must be one that alg takes; an
// RSA signer must be a gossh.AlgorithmSigner, since a plain one signs SHA-1.
func SignHost(rand io.Reader, signer gossh.Signer, alg string, data []byte) ([]byte, error) {
	a, err := algoForKey(alg, signer.PublicKey())
	if err != nil {
		return nil, err
	}
	var sig *gossh.Signature
	if s, ok := signer.(gossh.AlgorithmSigner); ok {
		sig, err = s.SignWithAlgorithm(rand, data, a.signature)
	} else if strings.HasPrefix(a.keyType, gossh.KeyAlgoRSA) {
		err = errors.New("the signer of an RSA key cannot choose a signature algorithm")
	} else {
		sig, err = signer.Sign(rand, data)
	}
	if err != nil {
		return nil, err
	}
	if sig.Format != a.signature {
		return nil, fmt.Errorf("signer made a %q signature where %s was wanted", sig.Format, a.signature)
	}
	return gossh.Marshal(sig), nil
}

// VerifyHost checks a server's proof that it has the private key of keyBlob:
// the key's type fits the negotiated algorithm alg, its size is within
// MinRSABits and MaxRSABits, and sigBlob is a signature over data in exactly
// the format that alg demands. A signature that is well-formed and wrong is
// ErrSignature. So is that of a security key that nobody touched: x/crypto
// demands the touch, which OpenSSH does of users' keys but not of hosts'.
//
// It returns the parsed key, a *gossh.Certificate for certificate algorithms.
// Whether that key is the host's, and whether the certificate is valid for it
// and signed by anybody, is for the caller to find out.
func VerifyHost(alg string, keyBlob, sigBlob, data []byte) (gossh.PublicKey, error) {
	key, err := gossh.ParsePublicKey(keyBlob)
	if err != nil {
		return nil, fmt.Errorf("parse host key: %w", err)
	}
	a, err := algoForKey(alg, key)
	if err != nil {
		return nil, err
	}
	// A key has one encoding. The blob is what goes into the exchange hash and
	// the key what known_hosts is asked for: they must be the same.
	if !bytes.Equal(key.Marshal(), keyBlob) {
		return nil, errors.New("host key is not in its canonical encoding")
	}
	sig, err := parseSignature(sigBlob)
	if err != nil {
		return nil, err
	}
	if sig.Format != a.signature {
		return nil, fmt.Errorf("signature is %q where %s demands %s", sig.Format, alg, a.signature)
	}
	if len(sig.Rest) > 0 && !strings.HasPrefix(a.signature, "sk-") {
		return nil, errors.New("bytes behind the signature")
	}
	if err := key.Verify(data, sig); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return key, nil
}

// algoForKey looks up alg and checks that key is one for it.
func algoForKey(alg string, key gossh.PublicKey) (hostKeyAlgo, error) {
	a, ok := lookupHostKey(alg)
	if !ok {
		return a, fmt.Errorf("unknown host key algorithm %q", alg)
	}
	if key.Type() != a.keyType {
		return a, fmt.Errorf("host key is a %s where %s demands %s", key.Type(), alg, a.keyType)
	}
	return a, checkKey(key)
}

// checkKey checks the size of RSA keys, in certificates too.
func checkKey(key gossh.PublicKey) error {
	if cert, ok := key.(*gossh.Certificate); ok {
		if err := checkKey(cert.SignatureKey); err != nil {
			return fmt.Errorf("certificate authority: %w", err)
		}
	}
	switch n, ok := RSABits(key); {
	case ok && n < MinRSABits:
		return fmt.Errorf("RSA key of %d bits is smaller than %d", n, MinRSABits)
	case ok && n > MaxRSABits:
		return fmt.Errorf("RSA key of %d bits is larger than %d", n, MaxRSABits)
	}
	return nil
}

// RSABits returns the size of an RSA key's modulus, or of the key that a
// certificate is for. ok is false for keys of other kinds.
func RSABits(key gossh.PublicKey) (bits int, ok bool) {
	if cert, isCert := key.(*gossh.Certificate); isCert {
		key = cert.Key
	}
	c, ok := key.(gossh.CryptoPublicKey)
	if !ok {
		return 0, false // security keys: Ed25519 and P-256
	}
	k, ok := c.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return 0, false
	}
	return k.N.BitLen(), true
}

func parseSignature(blob []byte) (*gossh.Signature, error) {
	p := wire.NewParser(blob)
	sig := &gossh.Signature{Format: p.String(), Blob: p.Bytes()}
	sig.Rest = p.Rest()
	if err := p.Err(); err != nil {
		return nil, fmt.Errorf("parse signature: %w", err)
	}
	return sig, nil
}
