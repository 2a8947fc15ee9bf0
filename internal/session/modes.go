package session

import "github.com/adit-ssh/adit/internal/wire"

// Opcodes of terminal modes that do not stand in a table (RFC 4254, section 8).
const (
	opEnd      = 0
	opInSpeed  = 128
	opOutSpeed = 129
)

// mode is one terminal mode: an opcode of RFC 4254, section 8, or of RFC 8160.
type mode struct {
	op    byte
	value uint32
}

// noChar stands for a special character that is not set.
const noChar = 255

// encodeModes writes modes as pty-req wants them, the speeds, in bits per second,
// first, as OpenSSH does (ttymodes.c, ssh_tty_make_modes).
func encodeModes(in, out uint32, modes []mode) []byte {
	b := wire.AppendUint32([]byte{opOutSpeed}, out)
	b = wire.AppendUint32(append(b, opInSpeed), in)
	for _, m := range modes {
		b = wire.AppendUint32(append(b, m.op), m.value)
	}
	return append(b, opEnd)
}

// unknownSpeed stands for speeds that OpenSSH does not know.
const unknownSpeed = 9600

// NoModes are the modes of somebody who has no terminal: none, as from OpenSSH.
func NoModes() []byte { return []byte{opEnd} }
