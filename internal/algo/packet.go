package algo

import (
	"encoding/binary"
	"errors"
	"io"
)

const (
	// MaxPacketLength is the largest packet_length accepted, in bytes: all of a
	// packet but the field itself and the tag. RFC 4253, section 6.1 demands
	// 35000; OpenSSH accepts as much as we do.
	MaxPacketLength = 256 << 10

	// MaxOverhead is the most that a packet is longer on the wire than its
	// payload: lengths, padding and tag.
	MaxOverhead = payloadOffset + minPadding + 15 + maxTag

	// RFC 4253, section 6: at least four bytes of padding, and at least sixteen
	// of packet without its tag.
	minPadding = 4
	minPacket  = 16

	// lengthSize is the size of packet_length, payloadOffset where the payload
	// begins: behind packet_length and padding_length.
	lengthSize    = 4
	payloadOffset = 5
	maxTag        = 64
)

// Faults of a packet. Each ends the connection. They carry no number that was
// decrypted before it was authenticated: their text may reach the peer.
var (
	// ErrPacketLength says that packet_length is out of bounds or not aligned.
	ErrPacketLength = errors.New("bad packet length")
	// ErrTag says that a packet's MAC or authentication tag is wrong.
	ErrTag = errors.New("bad packet authentication tag")
	// ErrPadding says that a packet's padding is shorter than four bytes or
	// leaves no room for a payload.
	ErrPadding = errors.New("bad packet padding")
)

// frame is the geometry of packets under one cipher.
type frame struct {
	block int // packets are a multiple of it
	lead  int // leading bytes that do not count for the multiple: 0 or 4
	tag   int
}

// padding returns the shortest padding that is legal for n bytes of payload.
func (f frame) padding(n int) int {
	n += payloadOffset
	pad := f.block - (n-f.lead)%f.block
	for pad < minPadding || n+pad < minPacket {
		pad += f.block
	}
	return pad
}

// SealedLen implements PacketCipher.
func (f frame) SealedLen(n int) int { return payloadOffset + n + f.padding(n) + f.tag }

// layOut fills in lengths and padding and returns where the tag begins.
func (f frame) layOut(slot []byte, n int, pad io.Reader) int {
	p := f.padding(n)
	binary.BigEndian.PutUint32(slot, uint32(1+n+p))
	slot[lengthSize] = byte(p)
	end := payloadOffset + n + p
	if _, err := io.ReadFull(pad, slot[payloadOffset+n:end]); err != nil {
		panic("BUG: the source of padding ended: " + err.Error())
	}
	return end
}

// length checks packet_length and returns the packet's whole length.
func (f frame) length(packetLength uint32) (int, error) {
	if packetLength > MaxPacketLength || packetLength < 1+minPadding {
		return 0, ErrPacketLength
	}
	n := lengthSize + int(packetLength)
	if (n-f.lead)%f.block != 0 {
		return 0, ErrPacketLength
	}
	return n + f.tag, nil
}

// split returns where the tag of a whole packet begins.
func (f frame) split(b []byte) (int, error) {
	end := len(b) - f.tag
	if end < payloadOffset+minPadding || (end-f.lead)%f.block != 0 {
		return 0, ErrPacketLength
	}
	return end, nil
}

// payload takes the padding off a decrypted packet without its tag.
func payload(b []byte) ([]byte, error) {
	pad := int(b[lengthSize])
	end := len(b) - pad
	if pad < minPadding || end <= payloadOffset {
		return nil, ErrPadding
	}
	return b[payloadOffset:end:end], nil
}
