package ssmwire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
)

// Message types. Input is what the client sends, Output what the agent sends.
const (
	Input            = "input_stream_data"
	Output           = "output_stream_data"
	Acknowledge      = "acknowledge"
	ChannelClosed    = "channel_closed"
	StartPublication = "start_publication"
	PausePublication = "pause_publication"
)

// Payload types of Input and Output.
const (
	PayloadData              uint32 = 1
	PayloadHandshakeRequest  uint32 = 5  // agent to client
	PayloadHandshakeResponse uint32 = 6  // client to agent
	PayloadHandshakeComplete uint32 = 7  // agent to client
	PayloadChallengeRequest  uint32 = 8  // encrypted sessions
	PayloadFlag              uint32 = 10 // a big-endian uint32
)

// Values of a PayloadFlag.
const (
	FlagDisconnectToPort   uint32 = 1 // client: the local connection has ended
	FlagTerminateSession   uint32 = 2 // client: the session is to end; agents after 2.3.722.0
	FlagConnectToPortError uint32 = 3 // agent, multiplexed sessions: the target was not reached
)

// Values of Frame.Flags.
const (
	FlagsNone    uint64 = 0
	FlagsControl uint64 = 3 // SYN and FIN: acks and control messages
)

// HeaderSize is where the payload begins, in bytes.
const HeaderSize = 120

// headerLength is what the first field says: where the payload's length stands.
const headerLength = HeaderSize - 4

// Places of the fields, in bytes.
const (
	atType        = 4
	atVersion     = 36
	atCreated     = 40
	atSequence    = 48
	atFlags       = 56
	atID          = 64
	atDigest      = 80
	atPayloadType = 112
	atLength      = 116
)

// ID is a message's UUID, in the order in which it is written. On the wire its
// halves are swapped.
type ID [16]byte

// String is the form that acknowledgements have: lower case, with hyphens.
func (id ID) String() string { return string(id.append(nil)) }

func (id ID) append(b []byte) []byte {
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// Frame is one binary message.
type Frame struct {
	Type        string // at most 32 bytes
	Created     int64  // milliseconds since 1970; never 0
	Sequence    int64  // per direction, from 0; 0 for acks and control messages
	Flags       uint64
	ID          ID
	PayloadType uint32
	Payload     []byte // after Parse, part of what was parsed
}

// Append appends the frame.
func (f *Frame) Append(b []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, HeaderSize)...)
	b = append(b, f.Payload...)
	f.Seal(b[at:])
	return b
}

// Seal fills in the head of a frame whose payload lies behind it already:
// b[HeaderSize:], whatever f.Payload is.
func (f *Frame) Seal(b []byte) {
	be := binary.BigEndian
	be.PutUint32(b, headerLength)
	for i := range b[atType:atVersion] {
		b[atType+i] = ' '
	}
	copy(b[atType:atVersion], f.Type)
	be.PutUint32(b[atVersion:], 1)
	be.PutUint64(b[atCreated:], uint64(f.Created))
	be.PutUint64(b[atSequence:], uint64(f.Sequence))
	be.PutUint64(b[atFlags:], f.Flags)
	copy(b[atID:], f.ID[8:])
	copy(b[atID+8:], f.ID[:8])
	digest := sha256.Sum256(b[HeaderSize:])
	copy(b[atDigest:], digest[:])
	be.PutUint32(b[atPayloadType:], f.PayloadType)
	be.PutUint32(b[atLength:], uint32(len(b)-HeaderSize))
}

// Errors of Parse.
var (
	ErrShort  = errors.New("frame is shorter than its head")
	ErrHead   = errors.New("frame's head is malformed")
	ErrLength = errors.New("payload is not as long as the frame says")
	ErrDigest = errors.New("payload's SHA-256 is not what the frame says")
)

// Parse reads a frame that fills b. The payload stays part of b. A frame that
// starts or pauses publication has nothing else to check, as in AWS's plugin.
func Parse(b []byte) (Frame, error) {
	if len(b) < HeaderSize {
		return Frame{}, ErrShort
	}
	be := binary.BigEndian
	f := Frame{
		Type:        strings.Trim(string(b[atType:atVersion]), " \x00"),
		Created:     int64(be.Uint64(b[atCreated:])),
		Sequence:    int64(be.Uint64(b[atSequence:])),
		Flags:       be.Uint64(b[atFlags:]),
		PayloadType: be.Uint32(b[atPayloadType:]),
	}
	copy(f.ID[8:], b[atID:])
	copy(f.ID[:8], b[atID+8:])
	if f.Type == StartPublication || f.Type == PausePublication {
		return f, nil
	}
	// A longer head would move the payload's length and what follows.
	length := uint64(be.Uint32(b))
	if length < headerLength || f.Type == "" || f.Created == 0 || f.Sequence < 0 {
		return Frame{}, ErrHead
	}
	if length+4 > uint64(len(b)) {
		return Frame{}, ErrShort
	}
	f.Payload = b[length+4:]
	if uint64(be.Uint32(b[length:])) != uint64(len(f.Payload)) {
		return Frame{}, ErrLength
	}
	if len(f.Payload) > 0 && sha256.Sum256(f.Payload) != [sha256.Size]byte(b[atDigest:atPayloadType]) {
		return Frame{}, ErrDigest
	}
	return f, nil
}
