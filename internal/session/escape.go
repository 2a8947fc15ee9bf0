package session

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ErrTerminated is how Escapes end a session: the person typed ~.
var ErrTerminated = errors.New("ended by the escape character and a period")

// ErrInputEnds is how Escapes end what is read: the person typed ~&. The program at
// the server hears of it twice, by a Ctrl-D, as OpenSSH does it, and by the end of
// its input.
var ErrInputEnds = errors.New("ended by the escape character and an ampersand")

// endOfTransmission is Ctrl-D.
const endOfTransmission = 4

// EscapeName is how a person types an escape character.
func EscapeName(c byte) string {
	if c < ' ' || c == 0x7f {
		return "^" + string(rune(c^0x40))
	}
	return string(rune(c))
}

// EscapeHelp is the answer to ~?, in OpenSSH's words: lines are sequences without
// the escape character, and what they do (clientloop.c, print_escape_help).
func EscapeHelp(char byte, lines [][2]string) string {
	name := EscapeName(char)
	var b strings.Builder
	b.WriteString("Supported escape sequences:\n")
	for _, l := range append(slices.Clip(lines), [2]string{"?", "this message"}, [2]string{name, "send the escape character by typing it twice"}) {
		fmt.Fprintf(&b, " %s%-4s- %s\n", name, l[0], l[1])
	}
	b.WriteString("(Note that escapes are only recognized immediately after newline.)\n")
	return b.String()
}

// NotShared is the answer to the escape sequences that OpenSSH has for its own
// session only, and false for others: they act on the master's terminal
// (clientloop.c, process_escapes).
func NotShared(c byte) (answer string, ok bool) {
	switch c {
	case 'Z' & 31, 'C', 'V', 'v', '&':
		return EscapeName(c) + " escape not available to multiplexed sessions", true
	}
	return "", false
}

// Escapes reads what a person types at a terminal and takes the escape sequences
// out (ssh(1), "ESCAPE CHARACTERS"): those that follow a new line, or the
// session's beginning.
//
//	          escape char, at a line's begin
//	text  ----------------------------------->  pending
//	 ^  ^                                        |  |
//	 |  +---- known: Do is called ---------------+  |
//	 +------- else: both characters are text -------+
type Escapes struct {
	// In is the terminal.
	In io.Reader
	// Char is the escape character.
	Char byte
	// Do obeys the sequence of Char and c, on the reading goroutine. It returns
	// false if it knows none, and ErrTerminated to end the session, or
	// ErrInputEnds.
	Do func(c byte) (known bool, err error)

	inLine  bool   // the last character did not end a line
	pending bool   // Char was read
	text    []byte // read and not yet returned
	err     error  // after text
	buf     [4096]byte
}

// Read implements io.Reader. After ErrTerminated it is not called again.
func (e *Escapes) Read(p []byte) (int, error) {
	for len(e.text) == 0 && e.err == nil {
		n, err := e.In.Read(e.buf[:])
		e.err = err
		e.filter(e.buf[:n])
	}
	if len(e.text) == 0 {
		return 0, e.err
	}
	n := copy(p, e.text)
	e.text = e.text[n:]
	return n, nil
}

// filter appends to text what is text in b.
func (e *Escapes) filter(b []byte) {
	for _, c := range b {
		if e.pending {
			e.pending = false
			if c != e.Char {
				known, err := e.Do(c)
				if err == ErrInputEnds {
					e.text, err = append(e.text, endOfTransmission), io.EOF
				}
				if err != nil {
					e.err = err
					return
				}
				if known {
					continue
				}
				e.text = append(e.text, e.Char)
			}
		} else if c == e.Char && !e.inLine {
			e.pending = true
			continue
		}
		e.inLine = c != '\r' && c != '\n'
		e.text = append(e.text, c)
	}
}
