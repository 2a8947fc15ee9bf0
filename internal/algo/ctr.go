package algo

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash"
	"io"
)

// MAC is a message authentication code by name.
type MAC struct {
	Name           string
	KeyLen, TagLen int
	ETM            bool // over the encrypted packet, length in clear (OpenSSH PROTOCOL, section 1.5)

	hash func() hash.Hash
}

var macs = []MAC{
	{Name: "hmac-sha2-256-etm@openssh.com", KeyLen: 32, TagLen: 32, ETM: true, hash: sha256.New},
	{Name: "hmac-sha2-512-etm@openssh.com", KeyLen: 64, TagLen: 64, ETM: true, hash: sha512.New},
	{Name: "hmac-sha2-256", KeyLen: 32, TagLen: 32, hash: sha256.New},
	{Name: "hmac-sha2-512", KeyLen: 64, TagLen: 64, hash: sha512.New},
}

// ctr is AES in counter mode with an HMAC (RFC 4344, RFC 6668). Without ETM the
// MAC covers the plain packet and the length is encrypted.
//
// Without ETM the length is acted upon before it is authenticated. A forged one
// makes us wait for up to MaxPacketLength bytes and then fail on the tag, which
// tells a forger how long we waited. Counter mode gives nothing beyond that, and
// such MACs are last in our order.
type ctr struct {
	layout
	etm    bool
	stream cipher.Stream
	mac    hash.Hash
	seq    [4]byte
	tag    []byte
}

func newCTR(key, iv, macKey []byte, mac *MAC, _ bool) (PacketCipher, error) {
	if mac == nil {
		return nil, errors.New("a counter mode cipher needs a MAC")
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &ctr{
		layout: layout{block: 16, outer: mac.ETM, tagLen: mac.TagLen},
		etm:    mac.ETM,
		stream: cipher.NewCTR(b, iv),
		mac:    hmac.New(mac.hash, macKey),
		tag:    make([]byte, 0, mac.TagLen),
	}, nil
}

func (c *ctr) sum(seq uint32, packet, dst []byte) []byte {
	binary.BigEndian.PutUint32(c.seq[:], seq)
	c.mac.Reset()
	c.mac.Write(c.seq[:])
	c.mac.Write(packet)
	return c.mac.Sum(dst)
}

// Seal implements PacketCipher.
func (c *ctr) Seal(seq uint32, slot []byte, n int, pad io.Reader) []byte {
	p := c.frame(slot, n, pad)
	if c.etm {
		c.stream.XORKeyStream(p[4:], p[4:])
		return c.sum(seq, p, p)
	}
	sealed := c.sum(seq, p, p)
	c.stream.XORKeyStream(p, p)
	return sealed
}

// Prefix implements PacketCipher.
func (c *ctr) Prefix() int {
	if c.etm {
		return 4
	}
	return aes.BlockSize
}

// Length implements PacketCipher. Without ETM it decrypts the first block.
func (c *ctr) Length(_ uint32, b []byte) (int, error) {
	if !c.etm {
		c.stream.XORKeyStream(b[:aes.BlockSize], b[:aes.BlockSize])
	}
	return c.total(binary.BigEndian.Uint32(b))
}

// Open implements PacketCipher.
func (c *ctr) Open(seq uint32, b []byte) ([]byte, error) {
	p := b[:len(b)-c.tagLen]
	if !c.etm {
		c.stream.XORKeyStream(p[aes.BlockSize:], p[aes.BlockSize:])
	}
	if subtle.ConstantTimeCompare(c.sum(seq, p, c.tag), b[len(p):]) != 1 {
		return nil, ErrTag
	}
	if c.etm {
		c.stream.XORKeyStream(p[4:], p[4:])
	}
	return c.payload(p)
}
