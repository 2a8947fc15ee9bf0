//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package session

import "golang.org/x/sys/unix"

// modesOf returns a terminal's modes in the order of their opcodes.
func modesOf(t *unix.Termios) []byte {
	var modes []mode
	for _, c := range specialChars {
		v := uint32(t.Cc[c.index])
		if v == vDisable {
			v = noChar
		}
		modes = append(modes, mode{c.op, v})
	}
	for _, f := range flagModes {
		var word uint64
		switch {
		case f.op < 50:
			word = uint64(t.Iflag)
		case f.op < 70:
			word = uint64(t.Lflag)
		case f.op < 90:
			word = uint64(t.Oflag)
		default:
			word = uint64(t.Cflag)
		}
		m := mode{op: f.op}
		if word&f.bit != 0 {
			m.value = 1
		}
		modes = append(modes, m)
	}
	in, out := speeds(t)
	return encodeModes(in, out, modes)
}

// specialChar is a character of c_cc.
type specialChar struct {
	op    byte
	index int
}

// flagMode is a bit, or some, of the word that op's range says: input below 50,
// local below 70, output below 90, then control.
type flagMode struct {
	op  byte
	bit uint64
}
