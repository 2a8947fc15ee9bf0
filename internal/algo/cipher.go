package algo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxPacketLength is the greatest packet_length accepted, in bytes. It is
	// OpenSSH's; RFC 4253, section 6.1, demands 35000.
	MaxPacketLength = 256 << 10
	// minPadding is the least padding (RFC 4253, section 6).
	minPadding = 4
)

// Errors of opening a packet. All of them end a connection.
var (
	ErrPacketLength = errors.New("bad packet length")
	ErrPadding      = errors.New("bad padding length")
	ErrTag          = errors.New("message authentication failed")
)

// Cipher is a packet cipher by name.
type Cipher struct {
	Name          string
	KeyLen, IVLen int
	Block         int  // what a packet's length is a multiple of
	AEAD          bool // needs no MAC

	// New makes one direction's cipher. mac and macKey are nil with an AEAD.
	// seal says which of Seal and Open will be called.
	New func(key, iv, macKey []byte, mac *MAC, seal bool) (PacketCipher, error)
}

var ciphers = []Cipher{
	{Name: "aes128-gcm@openssh.com", KeyLen: 16, IVLen: 12, Block: 16, AEAD: true, New: newGCM},
	{Name: "aes256-gcm@openssh.com", KeyLen: 32, IVLen: 12, Block: 16, AEAD: true, New: newGCM},
	{Name: "chacha20-poly1305@openssh.com", KeyLen: 64, Block: 8, AEAD: true, New: newChaCha},
	{Name: "aes128-ctr", KeyLen: 16, IVLen: 16, Block: 16, New: newCTR},
	{Name: "aes192-ctr", KeyLen: 24, IVLen: 16, Block: 16, New: newCTR},
	{Name: "aes256-ctr", KeyLen: 32, IVLen: 16, Block: 16, New: newCTR},
}

// layout is the arithmetic of a packet's lengths.
type layout struct {
	block  int  // length is a multiple of it
	outer  bool // packet_length is not part of what is padded to the block
	tagLen int
}

// padding returns the least legal padding for n bytes of payload.
func (l layout) padding(n int) int {
	size := 1 + n
	if !l.outer {
		size += 4
	}
	pad := l.block - size%l.block
	if pad < minPadding {
		pad += l.block
	}
	return pad
}

// SealedLen implements PacketCipher.
func (l layout) SealedLen(n int) int { return 5 + n + l.padding(n) + l.tagLen }

// frame writes the lengths and the padding, and returns the packet without its
// tag.
func (l layout) frame(slot []byte, n int, pad io.Reader) []byte {
	p := l.padding(n)
	binary.BigEndian.PutUint32(slot, uint32(1+n+p))
	slot[4] = byte(p)
	packet := slot[:5+n+p]
	if _, err := io.ReadFull(pad, packet[5+n:]); err != nil {
		panic("BUG: no padding: " + err.Error())
	}
	return packet
}

// total checks a packet_length and returns the whole length on the wire.
func (l layout) total(length uint32) (int, error) {
	size := int64(length)
	if !l.outer {
		size += 4
	}
	if length > MaxPacketLength || length < 1+minPadding || size%int64(l.block) != 0 {
		return 0, fmt.Errorf("%w %d", ErrPacketLength, length)
	}
	return 4 + int(length) + l.tagLen, nil
}

// payload takes lengths and padding off an opened packet without its tag.
func (l layout) payload(packet []byte) ([]byte, error) {
	pad := int(packet[4])
	if pad < minPadding || pad >= len(packet)-5 {
		return nil, fmt.Errorf("%w %d in a packet of %d bytes", ErrPadding, pad, len(packet))
	}
	return packet[5 : len(packet)-pad : len(packet)-pad], nil
}

// plain is no cipher at all.
type plain struct{ layout }

// Plain returns the cipher in force before the first NEWKEYS: none.
func Plain() PacketCipher { return plain{layout{block: 8}} }

// Seal implements PacketCipher.
func (c plain) Seal(_ uint32, slot []byte, n int, pad io.Reader) []byte {
	return c.frame(slot, n, pad)
}

// Prefix implements PacketCipher.
func (plain) Prefix() int { return 4 }

// Length implements PacketCipher.
func (c plain) Length(_ uint32, b []byte) (int, error) {
	return c.total(binary.BigEndian.Uint32(b))
}

// Open implements PacketCipher.
func (c plain) Open(_ uint32, b []byte) ([]byte, error) { return c.payload(b) }
