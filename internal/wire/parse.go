package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of a Parser. Decode puts the message's name in front; none of them
// holds a byte of the message.
var (
	errShort    = errors.New("message is cut short")
	errTrailing = errors.New("bytes left over after the last field")
	errNameList = errors.New("malformed name-list")
	errMpint    = errors.New("mpint is not in its shortest form")
	errNegative = errors.New("mpint is negative")
	errTooLong  = errors.New("field exceeds its limit")
)

// Limits on what a peer may send in one field.
const (
	// MaxNameList is the longest name-list body accepted, in bytes. OpenSSH 9.2
	// sends 1.1 KiB in its longest one.
	MaxNameList = 16 << 10
	// MaxNames is the greatest number of names in one list.
	MaxNames = 512
	// MaxMpint is the longest mpint body accepted, in bytes: 16384 bits and a
	// sign byte.
	MaxMpint = 2049
)

// Parser takes RFC 4251, section 5, values off the front of a byte slice. The
// first failure sticks: later calls return zero values and Err tells what
// happened. Slices it returns share the input's memory.
type Parser struct {
	b   []byte
	err error
}

// NewParser returns a Parser that reads b.
func NewParser(b []byte) Parser { return Parser{b: b} }

// Err returns the first error met.
func (p *Parser) Err() error { return p.err }

// Len returns how many bytes are left.
func (p *Parser) Len() int { return len(p.b) }

// Done reports the first error met, or that bytes are left over.
func (p *Parser) Done() error {
	if p.err == nil && len(p.b) > 0 {
		p.fail(errTrailing)
	}
	return p.err
}

// Rest takes all that is left.
func (p *Parser) Rest() []byte {
	if p.err != nil {
		return nil
	}
	return p.take(len(p.b))
}

func (p *Parser) fail(err error) {
	if p.err == nil {
		p.err, p.b = err, nil
	}
}

func (p *Parser) take(n int) []byte {
	if p.err != nil || n > len(p.b) {
		p.fail(errShort)
		return nil
	}
	v := p.b[:n:n]
	p.b = p.b[n:]
	return v
}

// Fixed takes n bytes.
func (p *Parser) Fixed(n int) []byte { return p.take(n) }

// Byte takes one byte.
func (p *Parser) Byte() byte {
	if v := p.take(1); v != nil {
		return v[0]
	}
	return 0
}

// Bool takes a boolean; every value but 0 is true, as RFC 4251 wants it.
func (p *Parser) Bool() bool { return p.Byte() != 0 }

// Uint32 takes a uint32.
func (p *Parser) Uint32() uint32 {
	if v := p.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// Uint64 takes a uint64.
func (p *Parser) Uint64() uint64 {
	if v := p.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// Bytes takes a string and returns its body, which shares the input's memory.
func (p *Parser) Bytes() []byte {
	n := p.Uint32()
	if uint64(n) > uint64(len(p.b)) {
		p.fail(errShort)
		return nil
	}
	return p.take(int(n))
}

// String takes a string and returns a copy of its body.
func (p *Parser) String() string { return string(p.Bytes()) }

// NameList takes a name-list. Names hold printable US-ASCII only (RFC 4251,
// sections 5 and 6).
func (p *Parser) NameList() []string {
	b := p.Bytes()
	if p.err != nil || len(b) == 0 {
		return nil
	}
	if len(b) > MaxNameList {
		p.fail(fmt.Errorf("name-list of %d bytes: %w (%d)", len(b), errTooLong, MaxNameList))
		return nil
	}
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			p.fail(errNameList)
			return nil
		}
	}
	names := strings.Split(string(b), ",")
	if len(names) > MaxNames {
		p.fail(fmt.Errorf("name-list of %d names: %w (%d)", len(names), errTooLong, MaxNames))
		return nil
	}
	// RFC 4251, section 5, forbids empty names. libssh 0.10 sends some and
	// OpenSSH takes them; they name nothing, so they are left out.
	return slices.DeleteFunc(names, func(n string) bool { return n == "" })
}

// Mpint takes a non-negative mpint and returns its body: big-endian, with the
// leading zero byte that keeps it positive, empty for zero.
func (p *Parser) Mpint() []byte {
	b := p.Bytes()
	if p.err != nil {
		return nil
	}
	if err := CheckMpint(b); err != nil {
		p.fail(err)
		return nil
	}
	return b
}

// CheckMpint reports what is wrong with b as the body of a non-negative mpint.
func CheckMpint(b []byte) error {
	switch {
	case len(b) > MaxMpint:
		return fmt.Errorf("mpint of %d bytes: %w (%d)", len(b), errTooLong, MaxMpint)
	case len(b) > 0 && b[0]&0x80 != 0:
		return errNegative
	case len(b) > 0 && b[0] == 0 && (len(b) == 1 || b[1]&0x80 == 0):
		return errMpint
	}
	return nil
}
