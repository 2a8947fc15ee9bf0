package algo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/adit-ssh/adit/internal/wire"
)

// Sizes of groups accepted, in bits (RFC 8270; the upper bound is OpenSSH's).
const (
	minGroupBits = 2048
	maxGroupBits = 8192
)

// dhKex is Diffie-Hellman over a group of integers (RFC 4253, section 8;
// RFC 8268). Shares and K are mpints.
type dhKex struct {
	p, g *big.Int
	x    *big.Int // our exponent
}

func newGroup(number int) func() Kex {
	return func() Kex {
		g := groups[number]
		return &dhKex{p: g.p(), g: big.NewInt(2)}
	}
}

// NewGroupKex returns a key exchange over the group that a server chose in a
// group exchange (RFC 4419). p and g are mpint bodies. The group's size is
// checked, and that p may be a safe prime at all; that it is one would take too
// long to find out.
func NewGroupKex(p, g []byte) (Kex, error) {
	k := &dhKex{p: new(big.Int).SetBytes(p), g: new(big.Int).SetBytes(g)}
	switch bits := k.p.BitLen(); {
	case bits < minGroupBits || bits > maxGroupBits:
		return nil, fmt.Errorf("group of %d bits; %d to %d are accepted", bits, minGroupBits, maxGroupBits)
	case k.p.Bit(0) == 0:
		return nil, errors.New("group's modulus is even")
	case !inRange(k.g, k.p):
		return nil, errors.New("group's generator is out of range")
	}
	return k, nil
}

// ChooseGroup returns the group that a server offers for the sizes wanted, in
// bits, as mpint bodies: the smallest known one of at least n, within min and
// max.
func ChooseGroup(min, n, max int) (p, g []byte, err error) {
	if min > max || n < min || n > max {
		return nil, nil, fmt.Errorf("group sizes %d, %d, %d are out of order", min, n, max)
	}
	best := 0
	for _, number := range []int{14, 15, 16, 17, 18} {
		bits := groups[number].bits
		if bits < min || bits > max {
			continue
		}
		best = number
		if bits >= n {
			break
		}
	}
	if best == 0 {
		return nil, nil, fmt.Errorf("no group between %d and %d bits", min, max)
	}
	return wire.MpintBody(groups[best].p().Bytes()), []byte{2}, nil
}

// inRange reports 1 < v < p-1.
func inRange(v, p *big.Int) bool {
	one := big.NewInt(1)
	return v.Cmp(one) > 0 && v.Cmp(new(big.Int).Sub(p, one)) < 0
}

// Init implements Kex.
func (k *dhKex) Init(r io.Reader) ([]byte, error) {
	// An exponent of twice the strength of the hash suffices in a safe-prime
	// group; 512 bits cover all hashes in use.
	x, err := rand.Int(r, new(big.Int).Lsh(big.NewInt(1), 512))
	if err != nil {
		return nil, err
	}
	k.x = x.Add(x, big.NewInt(2))
	return wire.MpintBody(new(big.Int).Exp(k.g, k.x, k.p).Bytes()), nil
}

// Finish implements Kex.
func (k *dhKex) Finish(peer []byte) ([]byte, error) {
	if err := wire.CheckMpint(peer); err != nil {
		return nil, fmt.Errorf("peer's public value: %w", err)
	}
	y := new(big.Int).SetBytes(peer)
	if !inRange(y, k.p) {
		return nil, errors.New("peer's public value is out of range")
	}
	s := new(big.Int).Exp(y, k.x, k.p)
	if !inRange(s, k.p) {
		return nil, errors.New("peer's public value lies in a small subgroup")
	}
	return wire.MpintBody(s.Bytes()), nil
}

// Respond implements Kex.
func (k *dhKex) Respond(r io.Reader, peer []byte) (share, secret []byte, err error) {
	if share, err = k.Init(r); err != nil {
		return nil, nil, err
	}
	secret, err = k.Finish(peer)
	return share, secret, err
}
