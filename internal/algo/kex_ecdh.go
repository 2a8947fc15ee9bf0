package algo

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/adit-ssh/adit/internal/wire"
)

// ecdhKex is ECDH over one curve (RFC 5656; RFC 8731 for X25519). K is an mpint.
type ecdhKex struct {
	curve ecdh.Curve
	priv  *ecdh.PrivateKey
}

func newX25519() Kex { return &ecdhKex{curve: ecdh.X25519()} }
func newP256() Kex   { return &ecdhKex{curve: ecdh.P256()} }
func newP384() Kex   { return &ecdhKex{curve: ecdh.P384()} }
func newP521() Kex   { return &ecdhKex{curve: ecdh.P521()} }

// Init implements Kex.
func (k *ecdhKex) Init(rand io.Reader) (share []byte, err error) {
	if k.priv, err = k.curve.GenerateKey(rand); err != nil {
		return nil, err
	}
	return k.priv.PublicKey().Bytes(), nil
}

// Finish implements Kex.
func (k *ecdhKex) Finish(peer []byte) ([]byte, error) {
	s, err := k.shared(peer)
	if err != nil {
		return nil, err
	}
	return wire.MpintBody(s), nil
}

// Respond implements Kex.
func (k *ecdhKex) Respond(rand io.Reader, peer []byte) (share, secret []byte, err error) {
	if share, err = k.Init(rand); err != nil {
		return nil, nil, err
	}
	secret, err = k.Finish(peer)
	return share, secret, err
}

// shared checks the peer's point and returns the raw secret. crypto/ecdh refuses
// points off the curve and, for X25519, an all-zero secret.
func (k *ecdhKex) shared(peer []byte) ([]byte, error) {
	pub, err := k.curve.NewPublicKey(peer)
	if err != nil {
		return nil, fmt.Errorf("peer's public value of %d bytes: %w", len(peer), err)
	}
	s, err := k.priv.ECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("peer's public value: %w", err)
	}
	return s, nil
}

// mlkemKex is the hybrid mlkem768x25519-sha256
// (draft-ietf-sshm-mlkem-hybrid-kex). The client's share is the encapsulation
// key and its X25519 value, the server's the ciphertext and its X25519 value. K
// is a string: SHA-256 over both secrets.
type mlkemKex struct {
	x    ecdhKex
	priv *mlkem.DecapsulationKey768
}

const x25519Size = 32

func newMLKEM() Kex { return &mlkemKex{x: ecdhKex{curve: ecdh.X25519()}} }

// Init implements Kex.
func (k *mlkemKex) Init(r io.Reader) (share []byte, err error) {
	seed := make([]byte, mlkem.SeedSize)
	if _, err := io.ReadFull(r, seed); err != nil {
		return nil, err
	}
	if k.priv, err = mlkem.NewDecapsulationKey768(seed); err != nil {
		return nil, err
	}
	clear(seed)
	x, err := k.x.Init(r)
	if err != nil {
		return nil, err
	}
	return append(k.priv.EncapsulationKey().Bytes(), x...), nil
}

// Finish implements Kex.
func (k *mlkemKex) Finish(peer []byte) ([]byte, error) {
	if len(peer) != mlkem.CiphertextSize768+x25519Size {
		return nil, fmt.Errorf("server's share has %d bytes, want %d", len(peer), mlkem.CiphertextSize768+x25519Size)
	}
	pq, err := k.priv.Decapsulate(peer[:mlkem.CiphertextSize768])
	if err != nil {
		return nil, fmt.Errorf("server's ML-KEM ciphertext: %w", err)
	}
	x, err := k.x.shared(peer[mlkem.CiphertextSize768:])
	if err != nil {
		return nil, err
	}
	return combine(pq, x), nil
}

// Respond implements Kex.
func (k *mlkemKex) Respond(r io.Reader, peer []byte) (share, secret []byte, err error) {
	if len(peer) != mlkem.EncapsulationKeySize768+x25519Size {
		return nil, nil, fmt.Errorf("client's share has %d bytes, want %d", len(peer), mlkem.EncapsulationKeySize768+x25519Size)
	}
	enc, err := mlkem.NewEncapsulationKey768(peer[:mlkem.EncapsulationKeySize768])
	if err != nil {
		return nil, nil, fmt.Errorf("client's ML-KEM key: %w", err)
	}
	pq, ciphertext := enc.Encapsulate()
	xs, err := k.x.Init(r)
	if err != nil {
		return nil, nil, err
	}
	x, err := k.x.shared(peer[mlkem.EncapsulationKeySize768:])
	if err != nil {
		return nil, nil, err
	}
	return append(ciphertext, xs...), combine(pq, x), nil
}

func combine(pq, x []byte) []byte {
	h := sha256.New()
	h.Write(pq)
	h.Write(x)
	clear(pq)
	clear(x)
	return h.Sum(nil)
}
