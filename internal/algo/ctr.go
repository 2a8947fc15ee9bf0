package algo

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"io"
)

// ctr is AES in counter mode (RFC 4344, section 4) with an HMAC, in one of two
// compositions: encrypt-then-MAC, where the length is not encrypted (OpenSSH
// PROTOCOL, section 1.5), or RFC 4253's, where the MAC covers the plaintext.
//
// In the latter a length is acted upon before it is authenticated. Under CBC
// that lets an attacker read plaintext, against which OpenSSH reads on after a
// bad length. Under counter mode flipped bits of a length only flip these bits,
// and OpenSSH disconnects at once, as our caller may.
type ctr struct {
	frame
	stream cipher.Stream
	mac    hash.Hash
	etm    bool
	// done is how much of the packet Length has decrypted already.
	done int

	// Scratch of one call; in here so that nothing is allocated.
	seq [4]byte
	sum [maxTag]byte
}

func newCTR(key, iv, macKey []byte, mac *MAC) (PacketCipher, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	c := &ctr{
		frame:  frame{block: aes.BlockSize, tag: mac.TagLen},
		stream: cipher.NewCTR(block, iv),
		mac:    hmac.New(mac.hash, macKey),
		etm:    mac.ETM,
	}
	if c.etm {
		c.lead = lengthSize
	}
	return c, nil
}

func (c *ctr) Seal(seq uint32, slot []byte, n int, pad io.Reader) []byte {
	end := c.layOut(slot, n, pad)
	if c.etm {
		c.stream.XORKeyStream(slot[lengthSize:end], slot[lengthSize:end])
		copy(slot[end:], c.tagOf(seq, slot[:end]))
	} else {
		copy(slot[end:], c.tagOf(seq, slot[:end]))
		c.stream.XORKeyStream(slot[:end], slot[:end])
	}
	return slot[:end+c.tag]
}

func (c *ctr) Prefix() int {
	if c.etm {
		return lengthSize
	}
	return aes.BlockSize
}

func (c *ctr) Length(_ uint32, b []byte) (int, error) {
	if !c.etm {
		c.stream.XORKeyStream(b[:aes.BlockSize], b[:aes.BlockSize])
		c.done = aes.BlockSize
	}
	return c.length(binary.BigEndian.Uint32(b))
}

func (c *ctr) Open(seq uint32, b []byte) ([]byte, error) {
	end, err := c.split(b)
	if err != nil {
		return nil, err
	}
	if c.etm {
		if !c.authentic(seq, b, end) {
			return nil, ErrTag
		}
		c.stream.XORKeyStream(b[lengthSize:end], b[lengthSize:end])
		return payload(b[:end])
	}
	c.stream.XORKeyStream(b[c.done:end], b[c.done:end])
	c.done = 0
	if !c.authentic(seq, b, end) {
		return nil, ErrTag
	}
	return payload(b[:end])
}

func (c *ctr) authentic(seq uint32, b []byte, end int) bool {
	return subtle.ConstantTimeCompare(c.tagOf(seq, b[:end]), b[end:]) == 1
}

// tagOf returns the MAC of a packet as it is laid out at this moment (RFC 4253,
// section 6.4). The slice is valid until the next call.
func (c *ctr) tagOf(seq uint32, b []byte) []byte {
	binary.BigEndian.PutUint32(c.seq[:], seq)
	c.mac.Reset()
	c.mac.Write(c.seq[:])
	c.mac.Write(b)
	return c.mac.Sum(c.sum[:0])[:c.tag]
}
