package algo

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/bits"

	"github.com/adit-ssh/adit/internal/wire"
)

const (
	// MinGroupBits and MaxGroupBits bound the modulus that a server may choose
	// in a group exchange. RFC 8270 demands the lower one; the upper one bounds
	// our work.
	MinGroupBits = 2048
	// MaxGroupBits is the largest modulus accepted, in bits.
	MaxGroupBits = 8192

	// exponentBytes is the size of a private exponent: twice the 256 bits that
	// the longest key wants (RFC 4419, section 6.2).
	exponentBytes = 64

	// minShareBits is how many bits of a share must be set. Powers of the
	// generator that are so regular leak the exponent (RFC 4419, section 6.2).
	minShareBits = 4
)

var errShareRange = errors.New("peer's share is out of range")

// dhKex is Diffie-Hellman in a group of integers modulo a prime (RFC 4253,
// section 8; RFC 4419; RFC 8268). Shares and K are mpints.
//
// math/big does not run in constant time. The exponent serves once, so that an
// observer gets one sample of it, blurred by the network.
type dhKex struct {
	p, g, last *big.Int // last is p-1
	x          *big.Int // from Init on
}

// NewGroupKex returns the key exchange in the group of prime p and generator g,
// bodies of mpints as they came from a server (RFC 4419, section 3). It checks
// what can be checked at a bearable price: the size of p, that it is odd, and
// that g is neither 1 nor p-1. That p is a safe prime is the server's promise,
// which its signature covers.
func NewGroupKex(p, g []byte) (Kex, error) {
	for _, b := range [][]byte{p, g} {
		if err := wire.CheckMpint(b); err != nil {
			return nil, fmt.Errorf("group: %w", err)
		}
	}
	x := newDH(new(big.Int).SetBytes(p), new(big.Int).SetBytes(g))
	switch n := x.p.BitLen(); {
	case n < MinGroupBits:
		return nil, fmt.Errorf("group of %d bits is smaller than %d", n, MinGroupBits)
	case n > MaxGroupBits:
		return nil, fmt.Errorf("group of %d bits is larger than %d", n, MaxGroupBits)
	case x.p.Bit(0) == 0:
		return nil, errors.New("group's modulus is even")
	case !x.inRange(x.g):
		return nil, errors.New("group's generator is out of range")
	}
	return x, nil
}

// newGroup returns the key exchange in a group of RFC 3526.
func newGroup(number int) func() Kex {
	return func() Kex { return newDH(groups[number].p(), big.NewInt(2)) }
}

func newDH(p, g *big.Int) *dhKex {
	return &dhKex{p: p, g: g, last: new(big.Int).Sub(p, big.NewInt(1))}
}

func (d *dhKex) Init(rand io.Reader) ([]byte, error) {
	exponent := make([]byte, exponentBytes)
	defer clear(exponent)
	if _, err := io.ReadFull(rand, exponent); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	exponent[0] |= 0x80 // never small
	d.x = new(big.Int).SetBytes(exponent)
	share := new(big.Int).Exp(d.g, d.x, d.p)
	if !d.inRange(share) {
		return nil, errors.New("group yields a share that is out of range")
	}
	return wire.MpintBody(share.Bytes()), nil
}

func (d *dhKex) Finish(serverShare []byte) ([]byte, error) {
	if d.x == nil {
		panic("BUG: a key exchange finishes before it began")
	}
	y, err := d.parseShare(serverShare)
	if err != nil {
		return nil, err
	}
	k := new(big.Int).Exp(y, d.x, d.p)
	defer clear(k.Bits())
	clear(d.x.Bits())
	// In a group of a safe prime this cannot be; a server's own group may be
	// another.
	if !d.inRange(k) {
		return nil, errors.New("shared secret is out of range")
	}
	return wire.MpintBody(k.Bytes()), nil
}

func (d *dhKex) Respond(rand io.Reader, clientShare []byte) (share, k []byte, err error) {
	// First the cheap check, then two exponentiations.
	if _, err = d.parseShare(clientShare); err != nil {
		return nil, nil, err
	}
	if share, err = d.Init(rand); err != nil {
		return nil, nil, err
	}
	if k, err = d.Finish(clientShare); err != nil {
		return nil, nil, err
	}
	return share, k, nil
}

// parseShare reads a peer's share. RFC 4253, section 8: values outside [1, p-1]
// "MUST NOT be sent or accepted"; 1 and p-1, whose secrets are known
// beforehand, are refused too (RFC 8268, section 4).
func (d *dhKex) parseShare(b []byte) (*big.Int, error) {
	if err := wire.CheckMpint(b); err != nil {
		return nil, fmt.Errorf("peer's share: %w", err)
	}
	if len(b) > len(d.p.Bytes())+1 {
		return nil, errShareRange
	}
	y := new(big.Int).SetBytes(b)
	if !d.inRange(y) {
		return nil, errShareRange
	}
	set := 0
	for _, c := range b {
		set += bits.OnesCount8(c)
	}
	if set < minShareBits {
		return nil, fmt.Errorf("peer's share has %d bits set", set)
	}
	return y, nil
}

// inRange reports whether 1 < y < p-1.
func (d *dhKex) inRange(y *big.Int) bool {
	return y.Cmp(big.NewInt(1)) > 0 && y.Cmp(d.last) < 0
}
