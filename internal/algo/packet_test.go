package algo

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"testing"
)

// suite is a cipher with a MAC, when it wants one.
type suite struct {
	cipher Cipher
	mac    *MAC
}

func (s suite) String() string {
	if s.mac == nil {
		return s.cipher.Name
	}
	return s.cipher.Name + "," + s.mac.Name
}

// suites lists every combination that can be negotiated, and "none".
func suites() []suite {
	all := []suite{{cipher: Cipher{Name: "none", Block: 8, New: func(_, _, _ []byte, _ *MAC, _ bool) (PacketCipher, error) {
		return Plain(), nil
	}}}}
	for _, c := range ciphers {
		if c.AEAD {
			all = append(all, suite{cipher: c})
			continue
		}
		for _, m := range macs {
			all = append(all, suite{c, &m})
		}
	}
	return all
}

// pair returns both ends of a direction, with keys made from seed.
func (s suite) pair(t testing.TB, seed byte) (sealer, opener PacketCipher) {
	t.Helper()
	src := seeded(seed)
	key, iv := take(src, s.cipher.KeyLen), take(src, s.cipher.IVLen)
	var macKey []byte
	if s.mac != nil {
		macKey = take(src, s.mac.KeyLen)
	}
	sealer, err := s.cipher.New(key, iv, macKey, s.mac, true)
	if err != nil {
		t.Fatal(err)
	}
	if opener, err = s.cipher.New(key, iv, macKey, s.mac, false); err != nil {
		t.Fatal(err)
	}
	return sealer, opener
}

func seeded(seed byte) io.Reader { return mathrand.NewChaCha8([32]byte{seed}) }

func take(r io.Reader, n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		panic(err)
	}
	return b
}

// seal puts payload into a slot of the size that SealedLen asks for.
func seal(c PacketCipher, seq uint32, payload []byte, pad io.Reader) []byte {
	slot := make([]byte, c.SealedLen(len(payload)))
	copy(slot[payloadOffset:], payload)
	return c.Seal(seq, slot, len(payload), pad)
}

// open does what a transport does with a packet that has come.
func open(c PacketCipher, seq uint32, wire []byte) ([]byte, error) {
	if len(wire) < c.Prefix() {
		return nil, io.ErrUnexpectedEOF
	}
	n, err := c.Length(seq, wire)
	if err != nil {
		return nil, err
	}
	if n > len(wire) {
		return nil, io.ErrUnexpectedEOF
	}
	return c.Open(seq, wire[:n:n])
}

func TestSealOpen(t *testing.T) {
	sizes := []int{1, 2, 3, 4, 7, 8, 11, 12, 15, 16, 17, 100, 239, 240, 241, 242, 255, 256, 257, 1000, 32 << 10, 32<<10 + 9, MaxPacketLength - 24}
	for _, s := range suites() {
		t.Run(s.String(), func(t *testing.T) {
			sealer, opener := s.pair(t, 1)
			seq := uint32(1<<32 - 5) // wraps on the way
			var sent, wire []byte
			for _, n := range sizes {
				payload := take(seeded(byte(n)), n)
				sent = payload
				wire = seal(sealer, seq, payload, rand.Reader)
				if len(wire) != sealer.SealedLen(n) {
					t.Fatalf("%d bytes: sealed to %d, SealedLen says %d", n, len(wire), sealer.SealedLen(n))
				}
				if len(wire) > n+MaxOverhead {
					t.Fatalf("%d bytes: sealed to %d, which is over MaxOverhead", n, len(wire))
				}
				onWire := bytes.Clone(wire)
				if n > 100 && s.cipher.Name != "none" && bytes.Contains(onWire, payload[:16]) {
					t.Fatalf("%d bytes: payload in the clear", n)
				}
				// What follows in the buffer is another packet's and stays.
				buf := append(bytes.Clone(wire), "next"...)
				got, err := open(opener, seq, buf)
				if err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
				if !bytes.Equal(got, sent) {
					t.Fatalf("%d bytes: payload differs", n)
				}
				if string(buf[len(wire):]) != "next" {
					t.Fatalf("%d bytes: Open touched the bytes behind the packet", n)
				}
				seq++
			}
		})
	}
}

// RFC 4253, section 6: padding of at least four bytes, up to a multiple of the
// block; we take the least.
func TestPadding(t *testing.T) {
	for _, s := range suites() {
		sealer, _ := s.pair(t, 1)
		lead := lengthSize
		if s.cipher.Name == "none" || s.mac != nil && !s.mac.ETM {
			lead = 0
		}
		tag := 0
		switch {
		case s.mac != nil:
			tag = s.mac.TagLen
		case s.cipher.AEAD:
			tag = 16
		}
		for n := 0; n < 300; n++ {
			legal := func(pad int) bool {
				whole := payloadOffset + n + pad
				return pad >= 4 && (whole-lead)%s.cipher.Block == 0 && whole >= 16
			}
			want := 0
			for !legal(want) {
				want++
			}
			if got := sealer.SealedLen(n) - payloadOffset - n - tag; got != want {
				t.Fatalf("%v: payload of %d: padding %d, want %d", s, n, got, want)
			}
		}
	}
}

// Every bit of a packet counts: flipped, it is either a bad length or a bad tag.
func TestOpenFlippedBit(t *testing.T) {
	for _, s := range suites() {
		if s.cipher.Name == "none" {
			continue
		}
		t.Run(s.String(), func(t *testing.T) {
			sealer, _ := s.pair(t, 2)
			wire := seal(sealer, 7, []byte("attack at dawn"), rand.Reader)
			for bit := range 8 * len(wire) {
				bad := bytes.Clone(wire)
				bad[bit/8] ^= 1 << (bit % 8)
				_, opener := s.pair(t, 2)
				_, err := open(opener, 7, bad)
				if !errors.Is(err, ErrTag) && !errors.Is(err, ErrPacketLength) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("bit %d flipped: got %v", bit, err)
				}
			}
		})
	}
}

// A packet opened under another sequence number fails; GCM counts by itself.
func TestOpenOutOfSequence(t *testing.T) {
	for _, s := range suites() {
		if s.cipher.Name == "none" {
			continue
		}
		t.Run(s.String(), func(t *testing.T) {
			sealer, opener := s.pair(t, 3)
			first := seal(sealer, 0, []byte("first"), rand.Reader)
			second := seal(sealer, 1, []byte("second"), rand.Reader)
			if len(first) != len(second) {
				t.Fatal("packets of different length")
			}
			// The second in place of the first, with the length that is expected.
			n, err := opener.Length(0, bytes.Clone(second))
			if err == nil && n == len(second) {
				_, err = opener.Open(0, second)
			} else if err == nil {
				err = ErrPacketLength
			}
			if !errors.Is(err, ErrTag) && !errors.Is(err, ErrPacketLength) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestLengthLimits(t *testing.T) {
	tests := []struct {
		length uint32
		block  int
		ok     bool
	}{
		{0, 8, false}, {4, 8, false}, {12, 8, true}, {13, 8, false}, {28, 8, true},
		{MaxPacketLength, 8, false}, {MaxPacketLength - 4, 8, true}, {MaxPacketLength + 4, 8, false},
		{1<<32 - 4, 8, false}, {1<<31 + 4, 8, false}, {1<<32 - 1, 8, false},
		{16, 16, true}, {8, 16, false}, {20, 16, false}, {MaxPacketLength, 16, true}, {MaxPacketLength + 16, 16, false},
	}
	for _, tt := range tests {
		c := Plain()
		if tt.block == 16 {
			_, c = suite{cipher: ciphers[0]}.pair(t, 1)
		}
		b := binary.BigEndian.AppendUint32(nil, tt.length)
		n, err := c.Length(0, b)
		if tt.ok && (err != nil || n < int(tt.length)) {
			t.Errorf("length %d, block %d: got %d, %v", tt.length, tt.block, n, err)
		}
		if !tt.ok && !errors.Is(err, ErrPacketLength) {
			t.Errorf("length %d, block %d: got %d, %v, want ErrPacketLength", tt.length, tt.block, n, err)
		}
	}
}

func TestPlainPadding(t *testing.T) {
	for _, tt := range []struct {
		pad  byte
		want string
		err  error
	}{
		{4, "1234567", nil}, {10, "1", nil}, {3, "", ErrPadding}, {0, "", ErrPadding}, {11, "", ErrPadding}, {12, "", ErrPadding}, {255, "", ErrPadding},
	} {
		b := []byte{0, 0, 0, 12, tt.pad, '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b'}
		got, err := open(Plain(), 0, b)
		if !errors.Is(err, tt.err) || string(got) != tt.want {
			t.Errorf("padding %d: got %q, %v, want %q, %v", tt.pad, got, err, tt.want, tt.err)
		}
	}
}

// A peer that holds the keys can still send nonsense; it must not hurt.
func TestAuthenticNonsense(t *testing.T) {
	for _, s := range suites() {
		for _, pad := range []byte{0, 3, 15, 16, 255} {
			sealer, opener := s.pair(t, 4)
			wire := sealWithPadding(sealer, []byte("x"), pad)
			if _, err := open(opener, 0, wire); !errors.Is(err, ErrPadding) {
				t.Errorf("%v: padding length %d: got %v, want ErrPadding", s, pad, err)
			}
		}
	}
}

// sealWithPadding seals a packet of one block that lies about its padding: the
// source of padding is what writes over it.
func sealWithPadding(c PacketCipher, payload []byte, pad byte) []byte {
	slot := make([]byte, c.SealedLen(len(payload)))
	copy(slot[payloadOffset:], payload)
	return c.Seal(0, slot, len(payload), &liar{slot, pad})
}

type liar struct {
	slot []byte
	pad  byte
}

func (l *liar) Read(b []byte) (int, error) {
	l.slot[lengthSize] = l.pad
	return len(b), nil
}

func TestNewChecksLengths(t *testing.T) {
	for _, c := range ciphers {
		mac := &macs[0]
		key, iv, macKey := make([]byte, c.KeyLen), make([]byte, c.IVLen), make([]byte, mac.KeyLen)
		if _, err := c.New(key, iv, macKey, mac, true); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		if _, err := c.New(key[1:], iv, macKey, mac, true); err == nil {
			t.Errorf("%s: a short key is taken", c.Name)
		}
		if _, err := c.New(key, append(iv, 0), macKey, mac, true); err == nil {
			t.Errorf("%s: a long IV is taken", c.Name)
		}
		if c.AEAD {
			continue
		}
		if _, err := c.New(key, iv, macKey[1:], mac, true); err == nil {
			t.Errorf("%s: a short MAC key is taken", c.Name)
		}
		if _, err := c.New(key, iv, nil, nil, true); err == nil {
			t.Errorf("%s: runs without a MAC", c.Name)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	for _, s := range suites() {
		for _, n := range []int{1, 32 << 10} {
			sealer, opener := s.pair(t, 5)
			slot := make([]byte, sealer.SealedLen(n))
			pad := mathrand.NewChaCha8([32]byte{})
			var seq uint32
			got := testing.AllocsPerRun(50, func() {
				wire := sealer.Seal(seq, slot, n, pad)
				if _, err := opener.Length(seq, wire); err != nil {
					t.Fatal(err)
				}
				if _, err := opener.Open(seq, wire); err != nil {
					t.Fatal(err)
				}
				seq++
			})
			if got != 0 {
				t.Errorf("%v: %d bytes: %v allocations, want none", s, n, got)
			}
		}
	}
}

func BenchmarkCipher(b *testing.B) {
	for _, s := range suites() {
		if s.cipher.Name == "none" || s.cipher.Name == "aes192-ctr" {
			continue
		}
		for _, n := range []int{32, 1024, 32 << 10} {
			pad := mathrand.NewChaCha8([32]byte{})
			b.Run(fmt.Sprintf("seal/%v/%d", s, n), func(b *testing.B) {
				sealer, _ := s.pair(b, 1)
				slot := make([]byte, sealer.SealedLen(n))
				b.SetBytes(int64(n))
				var seq uint32
				for b.Loop() {
					sealer.Seal(seq, slot, n, pad)
					seq++
				}
			})
			b.Run(fmt.Sprintf("open/%v/%d", s, n), func(b *testing.B) {
				// Packets are sealed apart from the clock, so many at a time.
				const packets = 64
				sealer, opener := s.pair(b, 1)
				size := sealer.SealedLen(n)
				buf := make([]byte, packets*size)
				b.SetBytes(int64(n))
				var seq uint32
				for i := 0; b.Loop(); i++ {
					if i%packets == 0 {
						b.StopTimer()
						for j := range packets {
							sealer.Seal(seq+uint32(j), buf[j*size:(j+1)*size], n, pad)
						}
						b.StartTimer()
					}
					wire := buf[i%packets*size:][:size]
					if _, err := opener.Length(seq, wire); err != nil {
						b.Fatal(err)
					}
					if _, err := opener.Open(seq, wire); err != nil {
						b.Fatal(err)
					}
					seq++
				}
			})
		}
	}
}
