package algo

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
)

const gcmTag = 16

// gcm is aes128-gcm@openssh.com and aes256-gcm@openssh.com: RFC 5647, without
// its rules for negotiation (OpenSSH PROTOCOL, section 1.6). The length is
// authenticated, not encrypted. The nonce's last eight bytes count packets.
type gcm struct {
	layout
	aead  cipher.AEAD
	nonce [12]byte
}

func newGCM(key, iv, _ []byte, _ *MAC, _ bool) (PacketCipher, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(b)
	if err != nil {
		return nil, err
	}
	c := &gcm{layout: layout{block: 16, outer: true, tagLen: gcmTag}, aead: aead}
	if copy(c.nonce[:], iv) != len(c.nonce) {
		return nil, fmt.Errorf("IV of %d bytes, want %d", len(iv), len(c.nonce))
	}
	return c, nil
}

// step counts the invocation.
func (c *gcm) step() {
	n := c.nonce[4:]
	binary.BigEndian.PutUint64(n, binary.BigEndian.Uint64(n)+1)
}

// Seal implements PacketCipher.
func (c *gcm) Seal(_ uint32, slot []byte, n int, pad io.Reader) []byte {
	p := c.frame(slot, n, pad)
	c.aead.Seal(p[4:4], c.nonce[:], p[4:], p[:4])
	c.step()
	return slot[:len(p)+gcmTag]
}

// Prefix implements PacketCipher.
func (*gcm) Prefix() int { return 4 }

// Length implements PacketCipher.
func (c *gcm) Length(_ uint32, b []byte) (int, error) { return c.total(binary.BigEndian.Uint32(b)) }

// Open implements PacketCipher.
func (c *gcm) Open(_ uint32, b []byte) ([]byte, error) {
	if _, err := c.aead.Open(b[4:4], c.nonce[:], b[4:], b[:4]); err != nil {
		return nil, ErrTag
	}
	c.step()
	return c.payload(b[:len(b)-gcmTag])
}
