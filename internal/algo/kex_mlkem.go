package algo

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/sha256"
	"fmt"
	"io"
)

// mlkemKex is mlkem768x25519-sha256 (draft-ietf-sshm-mlkem-hybrid-kex): a
// hybrid of ML-KEM-768 and X25519. A share is the KEM's part followed by the
// curve's; K is a string, SHA-256 of both secrets in that order.
type mlkemKex struct {
	kem   *mlkem.DecapsulationKey768 // the client's, from Init on
	curve ecdhKex
}

func newMLKEM() Kex { return &mlkemKex{curve: ecdhKex{curve: ecdh.X25519()}} }

func (x *mlkemKex) Init(rand io.Reader) ([]byte, error) {
	seed := make([]byte, mlkem.SeedSize)
	defer clear(seed)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	var err error
	if x.kem, err = mlkem.NewDecapsulationKey768(seed); err != nil {
		return nil, err
	}
	share, err := x.curve.Init(rand)
	if err != nil {
		return nil, err
	}
	return append(x.kem.EncapsulationKey().Bytes(), share...), nil
}

func (x *mlkemKex) Finish(serverShare []byte) ([]byte, error) {
	if x.kem == nil {
		panic("BUG: a key exchange finishes before it began")
	}
	ciphertext, point, err := splitShare(serverShare, mlkem.CiphertextSize768)
	if err != nil {
		return nil, err
	}
	// A ciphertext that was tampered with decapsulates to a random secret
	// (FIPS 203, section 6.3) and shows as a wrong signature.
	post, err := x.kem.Decapsulate(ciphertext)
	if err != nil {
		return nil, fmt.Errorf("peer's ML-KEM ciphertext: %w", err)
	}
	return x.combine(post, point)
}

// Respond takes the encapsulation's randomness from the standard library, which
// offers no other way.
func (x *mlkemKex) Respond(rand io.Reader, clientShare []byte) (share, k []byte, err error) {
	public, point, err := splitShare(clientShare, mlkem.EncapsulationKeySize768)
	if err != nil {
		return nil, nil, err
	}
	encapsulation, err := mlkem.NewEncapsulationKey768(public)
	if err != nil {
		return nil, nil, fmt.Errorf("peer's ML-KEM key: %w", err)
	}
	post, ciphertext := encapsulation.Encapsulate()
	own, err := x.curve.Init(rand)
	if err != nil {
		return nil, nil, err
	}
	if k, err = x.combine(post, point); err != nil {
		return nil, nil, err
	}
	return append(ciphertext, own...), k, nil
}

// combine returns K from the KEM's secret and the peer's point.
func (x *mlkemKex) combine(post, point []byte) ([]byte, error) {
	classical, err := x.curve.secret(point)
	if err != nil {
		return nil, err
	}
	both := append(post, classical...)
	k := sha256.Sum256(both)
	clear(both)
	clear(classical)
	return k[:], nil
}

func splitShare(share []byte, kem int) (post, point []byte, err error) {
	if len(share) != kem+x25519Size {
		return nil, nil, fmt.Errorf("peer's share of %d bytes where %d belong", len(share), kem+x25519Size)
	}
	return share[:kem], share[kem:], nil
}
