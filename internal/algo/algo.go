package algo

import "io"

// Kex is one side's work in a Diffie-Hellman-like key exchange. A value is used
// for one exchange. Shares and secrets are bodies without their length: what an
// mpint or a string would carry, whichever the method says; both are framed
// alike, so callers append them with wire.AppendString.
type Kex interface {
	// Init makes the client's share.
	Init(rand io.Reader) (share []byte, err error)
	// Finish takes the server's share and returns the shared secret K. It comes
	// after Init, once.
	Finish(serverShare []byte) (k []byte, err error)
	// Respond makes the server's share and the shared secret K from the
	// client's share.
	Respond(rand io.Reader, clientShare []byte) (share, k []byte, err error)
}

// PrivateKeyer is a Kex that can tell its private key, for a key log.
type PrivateKeyer interface {
	// PrivateKey returns the private key of the share that was made, in the
	// curve's encoding.
	PrivateKey() []byte
}

// PacketCipher seals packets or opens them, in place, for one direction. It
// covers encryption and integrity together. A value serves one direction of one
// key; Seal and Open are never called on the same value.
//
// A packet lies in a slice as it does on the wire: packet_length in the first
// four bytes, padding_length in the fifth, then the payload, the padding and
// the tag (RFC 4253, section 6).
type PacketCipher interface {
	// SealedLen returns the whole length on the wire of a packet with n bytes
	// of payload. It may be called while Seal runs.
	SealedLen(n int) int
	// Seal completes the packet whose payload lies in slot[5:5+n]: lengths,
	// padding, encryption and tag. slot has room for SealedLen(n) bytes, which
	// is what it returns. pad gives the padding's bytes and must not fail. It
	// does not allocate.
	Seal(seq uint32, slot []byte, n int, pad io.Reader) []byte

	// Prefix is the number of bytes that Length needs: 4, or a cipher block
	// where the length is encrypted with the first block.
	Prefix() int
	// Length returns the whole length on the wire, tag included, of the packet
	// that begins at b, of which len(b) >= Prefix() bytes are there. It may
	// decrypt the first block in place and remembers that, so it is called
	// once for each packet. A length over MaxPacketLength, or not a multiple of
	// the block, is ErrPacketLength.
	Length(seq uint32, b []byte) (int, error)
	// Open authenticates and decrypts the whole packet in place, of the length
	// that Length returned, and returns its payload, which shares b's memory.
	// A wrong tag is ErrTag; padding that leaves no payload is ErrPadding. It
	// does not allocate.
	Open(seq uint32, b []byte) (payload []byte, err error)
}
