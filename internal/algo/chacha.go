package algo

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"io"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 the construction predates RFC 8439 and needs the bare MAC
)

const (
	chachaTag = 16
	// bulkMin is from how many bytes on the detour over RFC 8439 pays.
	bulkMin = 1 << 10
)

// chacha is chacha20-poly1305@openssh.com (OpenSSH PROTOCOL.chacha20poly1305):
// two keys of ChaCha20 with a 64-bit nonce, the packet's sequence number. The
// second encrypts the length; the first, from block 1 on, the rest; its block 0
// is the Poly1305 key for length and rest.
//
// RFC 8439 has a 32-bit counter and a 96-bit nonce where the original has 64
// and 64, so with nonce 0⁴‖seq both make the same key stream. chacha20poly1305
// begins it at block 1 too, in AVX2 on amd64, which chacha20 lacks: bulk goes
// through its Seal, whose tag is dropped.
type chacha struct {
	layout
	lengthKey [32]byte
	mainKey   [32]byte
	stream    cipher.AEAD
	nonce     [12]byte
	polyKey   [32]byte
	scratch   [64]byte
}

func newChaCha(key, _, _ []byte, _ *MAC, _ bool) (PacketCipher, error) {
	c := &chacha{layout: layout{block: 8, outer: true, tagLen: chachaTag}}
	copy(c.mainKey[:], key[:32])
	copy(c.lengthKey[:], key[32:])
	var err error
	c.stream, err = chacha20poly1305.New(c.mainKey[:])
	return c, err
}

// start prepares the packet's nonce and Poly1305 key.
func (c *chacha) start(seq uint32) *chacha20.Cipher {
	binary.BigEndian.PutUint64(c.nonce[4:], uint64(seq))
	s, err := chacha20.NewUnauthenticatedCipher(c.mainKey[:], c.nonce[:])
	if err != nil {
		panic("BUG: chacha20: " + err.Error())
	}
	clear(c.scratch[:])
	s.XORKeyStream(c.scratch[:], c.scratch[:]) // all of block 0
	copy(c.polyKey[:], c.scratch[:])
	return s
}

func (c *chacha) xorLength(seq uint32, dst, src []byte) {
	binary.BigEndian.PutUint64(c.nonce[4:], uint64(seq))
	s, err := chacha20.NewUnauthenticatedCipher(c.lengthKey[:], c.nonce[:])
	if err != nil {
		panic("BUG: chacha20: " + err.Error())
	}
	s.XORKeyStream(dst, src)
}

// Seal implements PacketCipher.
func (c *chacha) Seal(seq uint32, slot []byte, n int, pad io.Reader) []byte {
	p := c.frame(slot, n, pad)
	body := p[4:]
	tag := slot[len(p) : len(p)+chachaTag]
	c.xorLength(seq, p[:4], p[:4])
	s := c.start(seq)
	if len(body) >= bulkMin {
		// The room for our tag takes the one that is dropped.
		c.stream.Seal(body[:0:len(body)+chachaTag], c.nonce[:], body, nil)
	} else {
		s.XORKeyStream(body, body)
	}
	c.mac((*[16]byte)(tag), p)
	return slot[:len(p)+chachaTag]
}

func (c *chacha) mac(tag *[16]byte, packet []byte) { poly1305.Sum(tag, packet, &c.polyKey) }

// Prefix implements PacketCipher.
func (*chacha) Prefix() int { return 4 }

// Length implements PacketCipher. It leaves b as it is: the tag covers the
// encrypted length.
func (c *chacha) Length(seq uint32, b []byte) (int, error) {
	var plain [4]byte
	c.xorLength(seq, plain[:], b[:4])
	return c.total(binary.BigEndian.Uint32(plain[:]))
}

// Open implements PacketCipher.
func (c *chacha) Open(seq uint32, b []byte) ([]byte, error) {
	p := b[:len(b)-chachaTag]
	s := c.start(seq)
	var want [16]byte
	c.mac(&want, p)
	if subtle.ConstantTimeCompare(want[:], b[len(p):]) != 1 {
		return nil, ErrTag
	}
	body := p[4:]
	if len(body) >= bulkMin {
		// Sealing the ciphertext decrypts it. The tag that comes with it may
		// fall on ours, which has served.
		c.stream.Seal(body[:0:len(body)+chachaTag], c.nonce[:], body, nil)
	} else {
		s.XORKeyStream(body, body)
	}
	return c.payload(p)
}
