package algo

import (
	"crypto/ecdh"
	"fmt"
	"io"

	"github.com/adit-ssh/adit/internal/wire"
)

const x25519Size = 32

// ecdhKex is Diffie-Hellman on an elliptic curve: curve25519-sha256 (RFC 8731)
// and ecdh-sha2-* (RFC 5656, section 4). Shares are strings, K is an mpint.
//
// The standard library refuses what the RFCs want refused: shares of another
// length, points that are not on the curve, the point at infinity, and the
// Curve25519 shares of low order whose secret is all zero.
type ecdhKex struct {
	curve ecdh.Curve
	key   *ecdh.PrivateKey // from Init on
}

func newX25519() Kex { return &ecdhKex{curve: ecdh.X25519()} }

func newECDH(curve ecdh.Curve) func() Kex {
	return func() Kex { return &ecdhKex{curve: curve} }
}

func (x *ecdhKex) Init(rand io.Reader) (share []byte, err error) {
	x.key, err = newECDHKey(x.curve, rand)
	if err != nil {
		return nil, err
	}
	return x.key.PublicKey().Bytes(), nil
}

func (x *ecdhKex) Finish(serverShare []byte) ([]byte, error) {
	secret, err := x.secret(serverShare)
	if err != nil {
		return nil, err
	}
	return wire.MpintBody(secret), nil
}

func (x *ecdhKex) Respond(rand io.Reader, clientShare []byte) (share, k []byte, err error) {
	if share, err = x.Init(rand); err != nil {
		return nil, nil, err
	}
	if k, err = x.Finish(clientShare); err != nil {
		return nil, nil, err
	}
	return share, k, nil
}

// PrivateKey implements PrivateKeyer.
func (x *ecdhKex) PrivateKey() []byte { return x.key.Bytes() }

// secret returns the shared secret as the curve has it: an X coordinate.
func (x *ecdhKex) secret(peerShare []byte) ([]byte, error) {
	if x.key == nil {
		panic("BUG: a key exchange finishes before it began")
	}
	peer, err := x.curve.NewPublicKey(peerShare)
	if err != nil {
		return nil, fmt.Errorf("peer's share of %d bytes: %w", len(peerShare), err)
	}
	secret, err := x.key.ECDH(peer)
	if err != nil {
		return nil, fmt.Errorf("peer's share: %w", err)
	}
	return secret, nil
}

// newECDHKey makes a key out of what rand gives: unlike the curve's own
// GenerateKey it never takes randomness from elsewhere, so that recorded
// exchanges can be replayed.
func newECDHKey(curve ecdh.Curve, rand io.Reader) (*ecdh.PrivateKey, error) {
	// Scalars over the group's order are drawn again, the method of FIPS 186-5,
	// A.2.2. P-256 misses most often, once in 2^32 draws.
	const draws = 8
	scalar := make([]byte, scalarSize(curve))
	defer clear(scalar)
	var err error
	for range draws {
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return nil, fmt.Errorf("read randomness: %w", err)
		}
		if curve == ecdh.P521() {
			scalar[0] &= 1 // 521 bits in 66 bytes
		}
		var key *ecdh.PrivateKey
		if key, err = curve.NewPrivateKey(scalar); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("no scalar in %d draws: %w", draws, err)
}

func scalarSize(curve ecdh.Curve) int {
	switch curve {
	case ecdh.P384():
		return 48
	case ecdh.P521():
		return 66
	}
	return x25519Size // and P-256
}
