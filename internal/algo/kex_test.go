package algo

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/adit-ssh/adit/internal/wire"
)

// kexForTest returns a value of the method; for group exchange in group 14.
func kexForTest(t testing.TB, m KexMethod) Kex {
	t.Helper()
	if !m.Gex {
		return m.New()
	}
	p, g, err := ChooseGroup(2048, 2048, 8192)
	if err != nil {
		t.Fatal(err)
	}
	x, err := NewGroupKex(p, g)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestKexAgrees(t *testing.T) {
	for _, m := range kexMethods {
		t.Run(m.Name, func(t *testing.T) {
			client, server := kexForTest(t, m), kexForTest(t, m)
			share, err := client.Init(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			answer, k, err := server.Respond(rand.Reader, share)
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.Finish(answer)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, k) {
				t.Errorf("client has K %x, server %x", got, k)
			}
			if m.Name == "mlkem768x25519-sha256" { // a string, not an mpint
				if len(k) != 32 {
					t.Errorf("K has %d bytes, want 32", len(k))
				}
			} else if err := wire.CheckMpint(k); err != nil {
				t.Errorf("K is no mpint: %v", err)
			}
		})
	}
}

// The same randomness makes the same shares, so that exchanges can be replayed.
func TestKexInitIsDeterministic(t *testing.T) {
	for _, m := range kexMethods {
		one, err := kexForTest(t, m).Init(seeded(1))
		if err != nil {
			t.Fatal(err)
		}
		two, err := kexForTest(t, m).Init(seeded(1))
		if err != nil {
			t.Fatal(err)
		}
		other, err := kexForTest(t, m).Init(seeded(2))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) || bytes.Equal(one, other) {
			t.Errorf("%s: shares do not follow the randomness", m.Name)
		}
	}
}

func TestKexWithoutRandomness(t *testing.T) {
	for _, m := range kexMethods {
		if _, err := kexForTest(t, m).Init(strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, want an unexpected EOF", m.Name, err)
		}
	}
	// Scalars that the curve does not take are drawn again, but not for ever.
	for _, b := range []byte{0, 0xff} {
		if _, err := newECDH(ecdh.P256())().Init(fill(b)); err == nil {
			t.Errorf("a scalar of all %#x is taken", b)
		}
	}
	scalar := take(seeded(1), 32)
	want, err := newECDH(ecdh.P256())().Init(scripted(scalar))
	if err != nil {
		t.Fatal(err)
	}
	got, err := newECDH(ecdh.P256())().Init(scripted(bytes.Repeat([]byte{0xff}, 32), scalar))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("after a scalar over the order: share %x, %v, want %x", got, err, want)
	}
}

// RFC 7748, section 6.1, and RFC 5903, section 8.
func TestECDHVectors(t *testing.T) {
	for _, tt := range []struct{ method, client, server, clientShare, serverShare, secret string }{
		{
			"curve25519-sha256",
			"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
			"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
			"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
			"de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
			"4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
		},
		{
			"ecdh-sha2-nistp256",
			"C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
			"C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
			"04 DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180 5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
			"04 D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63 56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
			"D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
		},
		{
			"ecdh-sha2-nistp384",
			"099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
			"41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC",
			"04 667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA 9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
			"04 E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571 DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
			"11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
		},
		{
			"ecdh-sha2-nistp521",
			"0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A095AA85A30FE1C2952C6771D937BA9777F5957B2639BAB072462F68C27A57382D4A52",
			"0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E9C677D600B343757A3BDBF2A3163E4C2F869CCA7458AA4A4EFFC311F5CB151685EB9",
			"",
			"04 00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f 015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a",
			"01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04D1427E73CA4BAA240A34786859810C06B3C715A3A8CC3151F2BEE417996D19F3DDEA",
		},
	} {
		t.Run(tt.method, func(t *testing.T) {
			m, _ := LookupKex(tt.method)
			client, server := m.New(), m.New()
			share, err := client.Init(scripted(unhex(t, tt.client)))
			if err != nil {
				t.Fatal(err)
			}
			if tt.clientShare != "" && !bytes.Equal(share, unhex(t, tt.clientShare)) {
				t.Errorf("client's share %x, want %s", share, tt.clientShare)
			}
			answer, k, err := server.Respond(scripted(unhex(t, tt.server)), share)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(answer, unhex(t, tt.serverShare)) {
				t.Errorf("server's share %x, want %s", answer, tt.serverShare)
			}
			got, err := client.Finish(answer)
			if err != nil {
				t.Fatal(err)
			}
			want := wire.MpintBody(unhex(t, tt.secret))
			if !bytes.Equal(got, want) || !bytes.Equal(k, want) {
				t.Errorf("K: client %x, server %x, want %x", got, k, want)
			}
		})
	}
}

// The hybrid, computed with CIRCL's ML-KEM and OpenSSL's X25519: the seeds are
// bytes that count up, from 0x00 for the KEM key, 0x40 for the encapsulation,
// 0x60 and 0x80 for the curve's keys of client and server.
func TestMLKEMVector(t *testing.T) {
	count := func(from byte, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = from + byte(i)
		}
		return b
	}
	hash := func(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

	client := newMLKEM()
	share, err := client.Init(scripted(count(0, 64), count(0x60, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hash(share), "f55a0aa8e108236936fbfca9be53865d8452a324791684535b37e9f9695a83a5"; got != want {
		t.Errorf("client's share has SHA-256 %s, want %s", got, want)
	}
	key, err := mlkem.NewEncapsulationKey768(share[:mlkem.EncapsulationKeySize768])
	if err != nil {
		t.Fatal(err)
	}
	_, ciphertext, err := mlkemtest.Encapsulate768(key, count(0x40, 32))
	if err != nil {
		t.Fatal(err)
	}
	point, err := newX25519().Init(scripted(count(0x80, 32)))
	if err != nil {
		t.Fatal(err)
	}
	answer := append(ciphertext, point...)
	if got, want := hash(answer), "786246747b41ba9736158f91ea866079d897963dd99737f30ba1dcd2f040edd0"; got != want {
		t.Errorf("server's share has SHA-256 %s, want %s", got, want)
	}
	k, err := client.Finish(answer)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%x", k), "d2ba530c42e1b7855626c6679d7896ee0d26d7dcc2aedb98c1d2dce4d9617980"; got != want {
		t.Errorf("K is %s, want %s", got, want)
	}
}

// Group 14 with exponents that count up, computed with Python's integers.
func TestDHVector(t *testing.T) {
	m, _ := LookupKex("diffie-hellman-group14-sha256")
	exponent := func(first, from byte) []byte {
		b := make([]byte, exponentBytes)
		for i := range b {
			b[i] = from + byte(i) - 1
		}
		b[0] = first
		return b
	}
	client, server := m.New(), m.New()
	share, err := client.Init(scripted(exponent(0x11, 1)))
	if err != nil {
		t.Fatal(err)
	}
	answer, k, err := server.Respond(scripted(exponent(0x22, 101)), share)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		what string
		got  []byte
		want string
	}{
		{"client's share", share, "12cbe3597b99ebe02885e0274eb4478cf8dbdaf6358ddf59f541646d8be8ba3e"},
		{"server's share", answer, "c68fbf94cd64ce30f9874ffcbdc6c04bc4348b14d40e9e19f5f264b4ee9c0d6b"},
		{"K", k, "d70308923fc0b379af0d00e8dd0ed1827ad373f285f7978200e32efb2a3fa226"},
	} {
		if got := fmt.Sprintf("%x", sha256.Sum256(v.got)); got != v.want {
			t.Errorf("%s has SHA-256 %s, want %s", v.what, got, v.want)
		}
	}
}

// hostileShares lists shares that each method must refuse, from a client and
// from a server alike.
func hostileShares(t *testing.T, m KexMethod) map[string][]byte {
	valid, err := kexForTest(t, m).Init(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string][]byte{
		"empty":    {},
		"zero":     make([]byte, len(valid)),
		"too long": append(slices.Clone(valid), make([]byte, 16)...), // one more would do, but for shares that happen to begin with zeros
		"huge":     make([]byte, MaxPacketLength),
	}
	switch {
	case strings.HasPrefix(m.Name, "curve25519"):
		bad["too short"] = valid[1:]
		// Points of low order (RFC 7748, section 6.1): all-zero secrets.
		bad["one"] = append([]byte{1}, make([]byte, 31)...)
		bad["order 8"] = unhex(t, "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
		bad["order 8 too"] = unhex(t, "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")
		bad["p-1"] = unhex(t, "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
		bad["p"] = unhex(t, "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
		bad["p+1"] = unhex(t, "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
	case strings.HasPrefix(m.Name, "ecdh"):
		off := slices.Clone(valid)
		off[len(off)-1] ^= 1
		bad["off the curve"] = off
		bad["infinity"] = []byte{0}
		bad["too short"] = valid[:len(valid)-1]
		bad["compressed"] = append([]byte{2 + valid[len(valid)-1]&1}, valid[1:len(valid)/2+1]...)
		over := bytes.Repeat([]byte{0xff}, len(valid))
		over[0] = 4
		bad["coordinates over p"] = over
	case strings.HasPrefix(m.Name, "diffie"):
		p := kexForTest(t, m).(*dhKex).p
		mpint := func(v *big.Int) []byte { return wire.MpintBody(v.Bytes()) }
		bad["one"] = []byte{1}
		bad["p-1"] = mpint(new(big.Int).Sub(p, big.NewInt(1)))
		bad["p"] = mpint(p)
		bad["p+2"] = mpint(new(big.Int).Add(p, big.NewInt(2)))
		bad["negative"] = []byte{0x80, 1, 2, 3, 4}
		bad["leading zero"] = append([]byte{0, 0}, valid...)
		bad["few bits"] = mpint(new(big.Int).Lsh(big.NewInt(7), 1000))
	default: // ML-KEM
		bad["too short"] = valid[1:]
		// Coefficients over q (FIPS 203, section 7.2): the modulus check. To a
		// client this is a share of the wrong length.
		over := slices.Clone(valid)
		over[0], over[1] = 0xff, 0xff
		bad["coefficient over q"] = over
		low := slices.Clone(valid)
		clear(low[mlkem.EncapsulationKeySize768:])
		bad["point of low order"] = low
		answer := make([]byte, mlkem.CiphertextSize768+x25519Size)
		bad["point of low order in an answer"] = answer
	}
	return bad
}

func TestKexHostileShares(t *testing.T) {
	for _, m := range kexMethods {
		t.Run(m.Name, func(t *testing.T) {
			for name, share := range hostileShares(t, m) {
				if _, _, err := kexForTest(t, m).Respond(rand.Reader, share); err == nil {
					t.Errorf("%s: a server takes it", name)
				}
				client := kexForTest(t, m)
				if _, err := client.Init(rand.Reader); err != nil {
					t.Fatal(err)
				}
				if _, err := client.Finish(share); err == nil {
					t.Errorf("%s: a client takes it", name)
				}
			}
		})
	}
}

func BenchmarkKex(b *testing.B) {
	for _, m := range kexMethods {
		b.Run(m.Name, func(b *testing.B) {
			for b.Loop() {
				client, server := kexForTest(b, m), kexForTest(b, m)
				share, err := client.Init(rand.Reader)
				if err != nil {
					b.Fatal(err)
				}
				answer, _, err := server.Respond(rand.Reader, share)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := client.Finish(answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
