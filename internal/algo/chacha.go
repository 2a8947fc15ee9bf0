package algo

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"runtime"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 the construction below is not RFC 8439's, and needs the parts
)

const (
	chachaKey = 2 * chacha20.KeySize
	chachaTag = poly1305.TagSize

	// chachaFast is the size from which the fast way of crypt pays.
	chachaFast = 128
)

// chacha is chacha20-poly1305@openssh.com (PROTOCOL.chacha20poly1305). Two keys
// and the sequence number as nonce: the key stream of K_1 encrypts the packet
// length; that of K_2 gives a Poly1305 key in its first block and encrypts the
// rest from its second block on. The tag covers both ciphertexts.
//
// OpenSSH uses the original ChaCha20, whose nonce and counter have eight bytes
// each. With a counter below 2^32 it equals RFC 8439's with four zero bytes in
// front of the nonce.
type chacha struct {
	frame
	lengthKey, mainKey [chacha20.KeySize]byte // K_1, K_2
	// fast is RFC 8439's AEAD under K_2, or nil. See crypt.
	fast cipher.AEAD

	// Scratch of one call; in here so that nothing is allocated.
	nonce  [chacha20.NonceSize]byte
	length [lengthSize]byte
	tagKey [32]byte
	tagSum [chachaTag]byte
}

func newChacha(key, _ []byte) (PacketCipher, error) {
	c := &chacha{frame: frame{block: 8, lead: lengthSize, tag: chachaTag}}
	copy(c.mainKey[:], key)
	copy(c.lengthKey[:], key[chacha20.KeySize:])
	if runtime.GOARCH == "amd64" {
		var err error
		if c.fast, err = chacha20poly1305.New(c.mainKey[:]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *chacha) Seal(seq uint32, slot []byte, n int, pad io.Reader) []byte {
	end := c.layOut(slot, n, pad)
	c.begin(seq)
	c.xor(&c.lengthKey, 0, slot[:lengthSize])
	c.crypt(slot[lengthSize : end : end+chachaTag])
	poly1305.Sum(&c.tagSum, slot[:end], &c.tagKey)
	copy(slot[end:end+chachaTag], c.tagSum[:])
	return slot[:end+chachaTag]
}

func (*chacha) Prefix() int { return lengthSize }

// Length leaves b alone: Open authenticates the length as it was encrypted.
func (c *chacha) Length(seq uint32, b []byte) (int, error) {
	c.setNonce(seq)
	copy(c.length[:], b)
	c.xor(&c.lengthKey, 0, c.length[:])
	return c.frame.length(binary.BigEndian.Uint32(c.length[:]))
}

func (c *chacha) Open(seq uint32, b []byte) ([]byte, error) {
	end, err := c.split(b)
	if err != nil {
		return nil, err
	}
	c.begin(seq)
	poly1305.Sum(&c.tagSum, b[:end], &c.tagKey)
	if subtle.ConstantTimeCompare(c.tagSum[:], b[end:]) != 1 {
		return nil, ErrTag
	}
	c.crypt(b[lengthSize : end : end+chachaTag])
	return payload(b[:end])
}

// begin makes the packet's nonce and the key of its tag.
func (c *chacha) begin(seq uint32) {
	c.setNonce(seq)
	clear(c.tagKey[:])
	c.xor(&c.mainKey, 0, c.tagKey[:])
}

func (c *chacha) setNonce(seq uint32) { binary.BigEndian.PutUint32(c.nonce[8:], seq) }

// crypt encrypts or decrypts body in place; there is room for a tag behind it,
// which may be overwritten.
//
// x/crypto's chacha20 has no assembler on amd64, but its RFC 8439 AEAD has, and
// its Seal XORs the very same key stream: K_2, the same nonce, from block 1 on.
// So Seal does our work, in both directions since XOR is its own inverse. The
// tag that it adds is not ours (another message under the same one-time key)
// and must not be seen: Seal's caller overwrites it with ours, Open's has read
// ours already and it is cleared here.
func (c *chacha) crypt(body []byte) {
	if c.fast == nil || len(body) < chachaFast {
		c.xor(&c.mainKey, 1, body)
		return
	}
	c.fast.Seal(body[:0], c.nonce[:], body, nil)
	clear(body[len(body) : len(body)+chachaTag])
}

// xor applies the key stream from a block on.
func (c *chacha) xor(key *[chacha20.KeySize]byte, block uint32, b []byte) {
	// Kept in one function: the value does not escape then.
	stream, err := chacha20.NewUnauthenticatedCipher(key[:], c.nonce[:])
	if err != nil {
		panic("BUG: " + err.Error())
	}
	stream.SetCounter(block)
	stream.XORKeyStream(b, b)
}
