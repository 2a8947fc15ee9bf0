package algo

import (
	"fmt"
	"math/big"
	"sync"

	"github.com/adit-ssh/adit/internal/wire"
)

// group is a MODP group of RFC 3526, given by the formula that the RFC gives:
// p = 2^bits - 2^(bits-64) - 1 + 2^64 * (floor(2^(bits-130) * pi) + k), g = 2.
// The numbers come out of pi, so there are no tables to mistype.
type group struct {
	bits int
	k    int64
	p    func() *big.Int
}

var groups = map[int]*group{
	14: newModp(2048, 124476),
	15: newModp(3072, 1690314),
	16: newModp(4096, 240904),
	17: newModp(6144, 929484),
	18: newModp(8192, 4743158),
}

// ChooseGroup answers a group exchange request for a group of n bits, at least
// least and at most most (RFC 4419, section 3): the smallest of groups 14 to 18
// that has n bits or more, or else the largest one permitted. p and g are bodies
// of mpints. It is an error when none is permitted, or when the request
// contradicts itself.
func ChooseGroup(least, n, most int) (p, g []byte, err error) {
	if least > n || n > most {
		return nil, nil, fmt.Errorf("request for a group of %d <= %d <= %d bits is out of order", least, n, most)
	}
	var best *group
	for _, number := range []int{14, 15, 16, 17, 18} {
		group := groups[number]
		if group.bits < least || group.bits > most {
			continue
		}
		best = group
		if group.bits >= n {
			break
		}
	}
	if best == nil {
		return nil, nil, fmt.Errorf("no group between %d and %d bits", least, most)
	}
	return wire.MpintBody(best.p().Bytes()), []byte{2}, nil
}

func newModp(bits int, k int64) *group {
	g := &group{bits: bits, k: k}
	g.p = sync.OnceValue(g.prime)
	return g
}

func (g *group) prime() *big.Int {
	one := big.NewInt(1)
	bits := uint(g.bits)
	p := new(big.Int).Lsh(one, bits)
	p.Sub(p, new(big.Int).Lsh(one, bits-64))
	p.Sub(p, one)
	mid := piFloor(bits - 130)
	mid.Add(mid, big.NewInt(g.k))
	return p.Add(p, mid.Lsh(mid, 64))
}

// piFloor returns floor(2^n * pi), by Machin's formula
// pi = 16 arctan(1/5) - 4 arctan(1/239) with 64 bits to spare.
func piFloor(n uint) *big.Int {
	const guard = 64
	unit := new(big.Int).Lsh(big.NewInt(1), n+guard)
	a := arctanInverse(unit, 5)
	b := arctanInverse(unit, 239)
	a.Mul(a, big.NewInt(16))
	b.Mul(b, big.NewInt(4))
	a.Sub(a, b)
	return a.Rsh(a, guard)
}

// arctanInverse returns unit * arctan(1/x).
func arctanInverse(unit *big.Int, x int64) *big.Int {
	square := big.NewInt(x * x)
	power := new(big.Int).Div(unit, big.NewInt(x))
	sum := new(big.Int).Set(power)
	for n := int64(3); power.Sign() != 0; n += 2 {
		power.Div(power, square)
		term := new(big.Int).Div(power, big.NewInt(n))
		if n%4 == 3 {
			sum.Sub(sum, term)
		} else {
			sum.Add(sum, term)
		}
	}
	return sum
}
