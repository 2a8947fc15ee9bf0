package algo

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"io"
)

const (
	gcmTag   = 16
	gcmNonce = 12
)

// gcm is AES-GCM as RFC 5647 has it, under OpenSSH's names: the packet length
// is authenticated but not encrypted.
type gcm struct {
	frame
	aead cipher.AEAD
	// nonce is a fixed field of four bytes and an invocation counter of eight
	// (RFC 5647, section 7.1). Both begin as the derived IV says; the counter
	// wraps in itself.
	nonce [gcmNonce]byte
}

func newGCM(key, iv []byte) (PacketCipher, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	c := &gcm{frame: frame{block: aes.BlockSize, lead: lengthSize, tag: gcmTag}, aead: aead}
	copy(c.nonce[:], iv)
	return c, nil
}

func (c *gcm) Seal(_ uint32, slot []byte, n int, pad io.Reader) []byte {
	end := c.layOut(slot, n, pad)
	c.aead.Seal(slot[lengthSize:lengthSize:end+gcmTag], c.nonce[:], slot[lengthSize:end], slot[:lengthSize])
	c.advance()
	return slot[:end+gcmTag]
}

func (*gcm) Prefix() int { return lengthSize }

func (c *gcm) Length(_ uint32, b []byte) (int, error) {
	return c.length(binary.BigEndian.Uint32(b))
}

func (c *gcm) Open(_ uint32, b []byte) ([]byte, error) {
	end, err := c.split(b)
	if err != nil {
		return nil, err
	}
	if _, err := c.aead.Open(b[lengthSize:lengthSize], c.nonce[:], b[lengthSize:], b[:lengthSize]); err != nil {
		return nil, ErrTag
	}
	c.advance()
	return payload(b[:end])
}

func (c *gcm) advance() {
	counter := c.nonce[gcmNonce-8:]
	binary.BigEndian.PutUint64(counter, binary.BigEndian.Uint64(counter)+1)
}
