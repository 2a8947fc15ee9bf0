package algo

import (
	"crypto/sha256"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
)

// The primes of RFC 3526, as OpenSSL prints them: SHA-256 over their bytes.
func TestGroupPrimes(t *testing.T) {
	for number, want := range map[int]string{
		14: "d66436f79bbd6b2e38c0ffbd079be904d2641415e2e67140e09448be9a60890e",
		15: "48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c",
		16: "4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33",
		17: "d1bfe6d0925ce7e4da262b62861514a7755e35831e429f343e7b864848657efd",
		18: "39ab4feab950a3128fb71accb9fc3965d857012e081998a85996e3ea8b3c3bcf",
	} {
		t.Run(fmt.Sprint(number), func(t *testing.T) {
			group := groups[number]
			p := group.p()
			if got := fmt.Sprintf("%x", sha256.Sum256(p.Bytes())); got != want {
				t.Errorf("prime has SHA-256 %s, want %s", got, want)
			}
			if p.BitLen() != group.bits {
				t.Errorf("prime of %d bits, want %d", p.BitLen(), group.bits)
			}
			if testing.Short() && group.bits > 2048 {
				return // seconds each
			}
			if !p.ProbablyPrime(0) {
				t.Error("p is composite")
			}
			if q := new(big.Int).Rsh(p, 1); !q.ProbablyPrime(0) {
				t.Error("(p-1)/2 is composite")
			}
		})
	}
}

func TestChooseGroup(t *testing.T) {
	for _, tt := range []struct{ least, n, most, want int }{
		{2048, 2048, 8192, 2048},
		{2048, 2049, 8192, 3072},
		{1024, 1024, 8192, 2048},
		{2048, 8192, 8192, 8192},
		{2048, 7680, 8192, 8192},
		{2048, 4096, 4096, 4096},
		{2048, 5000, 6000, 4096}, // none of n bits or more: the largest
		{3000, 3000, 3500, 3072},
		{1024, 16384, 16384, 8192},
		{1024, 1024, 2047, 0},
		{8193, 9000, 16384, 0},
		{2100, 2200, 2300, 0},
		{4096, 2048, 8192, 0},
		{2048, 8192, 4096, 0},
		{-1, -1, -1, 0},
		{-2048, 2048, 4096, 2048},
	} {
		p, g, err := ChooseGroup(tt.least, tt.n, tt.most)
		if tt.want == 0 {
			if err == nil {
				t.Errorf("%d, %d, %d: got a group", tt.least, tt.n, tt.most)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d, %d, %d: %v", tt.least, tt.n, tt.most, err)
			continue
		}
		if got := new(big.Int).SetBytes(p).BitLen(); got != tt.want {
			t.Errorf("%d, %d, %d: got %d bits, want %d", tt.least, tt.n, tt.most, got, tt.want)
		}
		if _, err := NewGroupKex(p, g); err != nil {
			t.Errorf("%d, %d, %d: our own group is refused: %v", tt.least, tt.n, tt.most, err)
		}
	}
}

func TestNewGroupKexRefuses(t *testing.T) {
	mpint := func(v *big.Int) []byte { return wire.MpintBody(v.Bytes()) }
	ones := func(bits uint) *big.Int {
		v := new(big.Int).Lsh(big.NewInt(1), bits)
		return v.Sub(v, big.NewInt(1))
	}
	p := groups[14].p()
	for _, tt := range []struct {
		name string
		p, g []byte
		want string
	}{
		{"zero", nil, []byte{2}, "smaller"},
		{"2047 bits", mpint(ones(2047)), []byte{2}, "smaller"},
		{"8193 bits", mpint(ones(8193)), []byte{2}, "larger"},
		{"far too long", mpint(ones(1 << 20)), []byte{2}, "mpint"},
		{"negative", append([]byte{0xff}, make([]byte, 256)...), []byte{2}, "negative"},
		{"leading zeros", append([]byte{0, 0}, mpint(p)...), []byte{2}, "mpint"},
		{"even", mpint(new(big.Int).Sub(p, big.NewInt(1))), []byte{2}, "even"},
		{"g is 0", mpint(p), nil, "generator"},
		{"g is 1", mpint(p), []byte{1}, "generator"},
		{"g is p-1", mpint(p), mpint(new(big.Int).Sub(p, big.NewInt(1))), "generator"},
		{"g is p", mpint(p), mpint(p), "generator"},
		{"g is over p", mpint(p), mpint(ones(3000)), "generator"},
		{"g is negative", mpint(p), []byte{0x80}, "negative"},
	} {
		_, err := NewGroupKex(tt.p, tt.g)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error that says %q", tt.name, err, tt.want)
		}
	}
}

// A server may choose a group in which a secret is known beforehand; it must
// not become a key.
func TestGroupOfSmallOrder(t *testing.T) {
	// p = 3k+1 has elements of order 3; with one of them as generator all
	// powers are 1, g and g^2.
	p := new(big.Int).Lsh(big.NewInt(1), 2100)
	three, one := big.NewInt(3), big.NewInt(1)
	for p.Add(p, one); new(big.Int).Mod(p, three).Cmp(one) != 0 || !p.ProbablyPrime(0); p.Add(p, one) {
	}
	exp := new(big.Int).Div(new(big.Int).Sub(p, one), three)
	g := big.NewInt(2)
	for new(big.Int).Exp(g, exp, p).Cmp(one) == 0 {
		g.Add(g, one)
	}
	g.Exp(g, exp, p)
	refused := 0
	for seed := range byte(32) {
		x, err := NewGroupKex(wire.MpintBody(p.Bytes()), wire.MpintBody(g.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Init(seeded(seed)); err != nil {
			refused++ // our own share would be 1
			continue
		}
		k, err := x.Finish(wire.MpintBody(g.Bytes()))
		if err != nil {
			refused++
			continue
		}
		if v := new(big.Int).SetBytes(k); v.Cmp(one) <= 0 {
			t.Fatalf("seed %d: K is %v", seed, v)
		}
	}
	if refused == 0 || refused == 32 {
		t.Errorf("%d of 32 exchanges refused; about a third have a share or a secret of 1", refused)
	}
}
