package agent

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// errKey is key material that does not fit together. Its text names no byte of it.
var errKey = errors.New("malformed private key")

// curves are those of ECDSA keys, by the name that stands in them.
var curves = map[string]elliptic.Curve{"nistp256": elliptic.P256(), "nistp384": elliptic.P384(), "nistp521": elliptic.P521()}

// appendPrivate appends a private key as an agent takes it (RFC 9987, section
// 5.2; OpenSSH, sshkey.c, sshkey_private_serialize), for a certificate if there is
// one.
func appendPrivate(b []byte, private any, cert *gossh.Certificate) ([]byte, error) {
	if p, ok := private.(*ed25519.PrivateKey); ok {
		private = *p
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return nil, fmt.Errorf("a key of type %T can't be given to an agent", private)
	}
	public := signer.PublicKey()
	if cert != nil && !bytes.Equal(cert.Key.Marshal(), public.Marshal()) {
		return nil, errors.New("the certificate is another key's")
	}
	typ := public.Type()
	if cert != nil {
		typ = cert.Type()
	}
	b = wire.AppendString(b, typ)
	if cert != nil {
		b = wire.AppendString(b, cert.Marshal())
	}
	switch k := private.(type) {
	case ed25519.PrivateKey:
		return wire.AppendString(wire.AppendString(b, k[32:]), k), nil
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		if err != nil {
			return nil, errKey
		}
		defer clear(d)
		if cert == nil {
			point, err := k.PublicKey.Bytes()
			if err != nil {
				return nil, errKey
			}
			name := typ[len("ecdsa-sha2-"):]
			b = wire.AppendString(wire.AppendString(b, name), point)
		}
		return wire.AppendMpint(b, d), nil
	case *rsa.PrivateKey:
		if len(k.Primes) != 2 {
			return nil, errors.New("RSA keys have two primes")
		}
		if k.Precomputed.Qinv == nil {
			k.Precompute()
		}
		if cert == nil {
			b = wire.AppendMpint(wire.AppendMpint(b, k.N.Bytes()), big.NewInt(int64(k.E)).Bytes())
		}
		for _, n := range []*big.Int{k.D, k.Precomputed.Qinv, k.Primes[0], k.Primes[1]} {
			secret := n.Bytes()
			body := wire.MpintBody(secret) // may be a copy
			b = wire.AppendString(b, body)
			clear(body)
			clear(secret)
		}
		return b, nil
	}
	return nil, fmt.Errorf("a key of type %T can't be given to an agent", private)
}

// parsePrivate reads such a key and checks it. raw is the part of p that it is,
// which openPrivate takes; public is the certificate if there is one.
func parsePrivate(p *wire.Parser, b []byte) (raw []byte, public gossh.PublicKey, err error) {
	before := p.Len()
	private, public, err := readPrivate(p)
	if err != nil {
		return nil, nil, err
	}
	defer wipePrivate(private)
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, errKey
	}
	plain := public
	if cert, ok := public.(*gossh.Certificate); ok {
		plain = cert.Key
	}
	if plain != nil && !bytes.Equal(plain.Marshal(), signer.PublicKey().Marshal()) {
		return nil, nil, errKey
	}
	if plain == nil {
		public = signer.PublicKey()
	}
	from := len(b) - before
	return b[from : len(b)-p.Len()], public, nil
}

// openPrivate returns a signer of a key that parsePrivate has checked. wipe
// forgets what it holds.
func openPrivate(raw []byte) (signer gossh.AlgorithmSigner, wipe func(), err error) {
	p := wire.NewParser(raw)
	private, _, err := readPrivate(&p)
	if err != nil {
		return nil, nil, err
	}
	s, err := gossh.NewSignerFromKey(private)
	as, ok := s.(gossh.AlgorithmSigner)
	if err != nil || !ok {
		wipePrivate(private)
		return nil, nil, errKey
	}
	return as, func() { wipePrivate(private) }, nil
}

// readPrivate reads a key. public is only set for a certificate.
func readPrivate(p *wire.Parser) (private any, public gossh.PublicKey, err error) {
	typ := p.String()
	var cert *gossh.Certificate
	switch typ {
	case gossh.CertAlgoED25519v01, gossh.CertAlgoRSAv01, gossh.CertAlgoECDSA256v01, gossh.CertAlgoECDSA384v01, gossh.CertAlgoECDSA521v01:
		key, err := parsePublic(p.Bytes())
		if err != nil {
			return nil, nil, err
		}
		var ok bool
		if cert, ok = key.(*gossh.Certificate); !ok || cert.Type() != typ {
			return nil, nil, errCertificate
		}
		public, typ = cert, cert.Key.Type()
	}
	switch typ {
	case gossh.KeyAlgoED25519:
		private, err = readEd25519(p)
	case gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521:
		private, err = readECDSA(p, typ[len("ecdsa-sha2-"):], cert)
	case gossh.KeyAlgoRSA:
		private, err = readRSA(p, cert)
	default:
		err = fmt.Errorf("keys of type %.64q are not held here", typ)
	}
	return private, public, err
}

func readEd25519(p *wire.Parser) (any, error) {
	public, private := p.Bytes(), p.Bytes()
	if p.Err() != nil || len(public) != ed25519.PublicKeySize || len(private) != ed25519.PrivateKeySize || !bytes.Equal(public, private[32:]) {
		return nil, errKey
	}
	k := ed25519.NewKeyFromSeed(private[:32])
	if !bytes.Equal(k[32:], public) { // a wrong public half would give the private one away
		clear(k)
		return nil, errKey
	}
	return k, nil
}

func readECDSA(p *wire.Parser, curve string, cert *gossh.Certificate) (any, error) {
	var point []byte
	if cert == nil {
		if p.String() != curve {
			return nil, errKey
		}
		point = p.Bytes()
	} else {
		c, _ := cert.Key.(gossh.CryptoPublicKey)
		if e, ok := c.CryptoPublicKey().(*ecdsa.PublicKey); ok {
			point, _ = e.Bytes()
		}
	}
	c := curves[curve]
	d, err := readMpint(p)
	if err != nil {
		return nil, err
	}
	defer wipeInt(d)
	size := (c.Params().BitSize + 7) / 8
	if d.BitLen() > c.Params().BitSize {
		return nil, errKey
	}
	raw := d.FillBytes(make([]byte, size))
	defer clear(raw)
	k, err := ecdsa.ParseRawPrivateKey(c, raw)
	if err != nil {
		return nil, errKey
	}
	if own, err := k.PublicKey.Bytes(); err != nil || !bytes.Equal(own, point) {
		wipePrivate(k)
		return nil, errKey
	}
	return k, nil
}

func readRSA(p *wire.Parser, cert *gossh.Certificate) (any, error) {
	public := &rsa.PublicKey{}
	if cert != nil {
		c, _ := cert.Key.(gossh.CryptoPublicKey)
		k, ok := c.CryptoPublicKey().(*rsa.PublicKey)
		if !ok {
			return nil, errKey
		}
		*public = *k
	} else {
		n, err1 := readMpint(p)
		e, err2 := readMpint(p)
		if err1 != nil || err2 != nil || e.BitLen() > 31 {
			return nil, errKey
		}
		public.N, public.E = n, int(e.Int64())
	}
	var ints [4]*big.Int // d, q⁻¹ mod p, p, q
	for i := range ints {
		var err error
		if ints[i], err = readMpint(p); err != nil {
			return nil, err
		}
	}
	k := &rsa.PrivateKey{PublicKey: *public, D: ints[0], Primes: []*big.Int{ints[2], ints[3]}}
	if k.N.BitLen() < 1024 || k.N.BitLen() > 16384 || !precompute(k, ints[1]) && !precompute(k, nil) {
		wipeInt(ints[1])
		wipePrivate(k)
		return nil, errKey
	}
	return k, nil
}

// precompute prepares a key for signing, and checks that its parts fit. With q⁻¹ mod p
// that is quick; to find it takes as long as half a signature. It comes from outside
// and may be wrong, which OpenSSH does not look at.
func precompute(k *rsa.PrivateKey, inverse *big.Int) bool {
	k.Precomputed = rsa.PrecomputedValues{}
	if inverse != nil {
		one := big.NewInt(1)
		mod := func(prime *big.Int) *big.Int { return new(big.Int).Mod(k.D, new(big.Int).Sub(prime, one)) }
		for _, prime := range k.Primes {
			if prime.Cmp(one) <= 0 {
				return false
			}
		}
		k.Precomputed.Dp, k.Precomputed.Dq, k.Precomputed.Qinv = mod(k.Primes[0]), mod(k.Primes[1]), inverse
	}
	k.Precompute()
	return k.Validate() == nil
}

// readMpint takes a number that is not negative. Zeros may lead, as OpenSSH
// allows.
func readMpint(p *wire.Parser) (*big.Int, error) {
	b := p.Bytes()
	if p.Err() != nil || len(b) > wire.MaxMpint || len(b) > 0 && b[0]&0x80 != 0 {
		return nil, errKey
	}
	return new(big.Int).SetBytes(b), nil
}

// wipePrivate overwrites a key. What crypto/rsa and crypto/ecdsa keep for
// themselves is out of reach, and left to the garbage collector.
func wipePrivate(private any) {
	switch k := private.(type) {
	case ed25519.PrivateKey:
		clear(k)
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 nothing newer can overwrite it
		wipeInt(k.D)
	case *rsa.PrivateKey:
		wipeInt(k.D)
		for _, n := range append(k.Primes, k.Precomputed.Dp, k.Precomputed.Dq, k.Precomputed.Qinv) {
			wipeInt(n)
		}
	}
}

func wipeInt(n *big.Int) {
	if n != nil {
		clear(n.Bits())
	}
}
