package session

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEscapes(t *testing.T) {
	for _, tt := range []struct{ typed, text, done string }{
		{"hello\r", "hello\r", ""},
		{"~?x", "x", "?"},
		{"a~?", "a~?", ""},
		{"a\r~?b", "a\rb", "?"},
		{"a\n~?b", "a\nb", "?"},
		{"~?~?x~?", "x~?", "??"}, // still at the line's begin after one that was obeyed
		{"~~.", "~.", ""},
		{"\r~~\r~?", "\r~\r", "?"},
		{"~x~?", "~x~?", ""}, // none that we know
		{"~\r~?", "~\r", "?"},
		{"x\r~", "x\r", ""}, // never ended
		{"a\r~.never sent", "a\r", "."},
	} {
		for _, slow := range []bool{false, true} {
			var in io.Reader = strings.NewReader(tt.typed)
			if slow {
				in = iotest.OneByteReader(in)
			}
			var done []byte
			e := &Escapes{In: in, Char: '~', Do: func(c byte) (bool, error) {
				switch c {
				case '?':
					done = append(done, c)
					return true, nil
				case '.':
					done = append(done, c)
					return true, ErrTerminated
				}
				return false, nil
			}}
			text, err := io.ReadAll(e)
			if string(text) != tt.text || string(done) != tt.done {
				t.Errorf("%q, byte by byte %t: read %q and did %q, want %q and %q", tt.typed, slow, text, done, tt.text, tt.done)
			}
			if ended := strings.Contains(tt.done, "."); errors.Is(err, ErrTerminated) != ended {
				t.Errorf("%q: read until %v, want an end by the person: %t", tt.typed, err, ended)
			}
		}
	}
}

// Whatever is typed, nothing is lost but what was obeyed.
func FuzzEscapes(f *testing.F) {
	f.Add([]byte("ls\r~?~~a\r~b"), uint8(1))
	f.Fuzz(func(t *testing.T, typed []byte, size uint8) {
		obeyed := 0
		e := &Escapes{In: &chunks{typed, int(size)%7 + 1}, Char: '~', Do: func(c byte) (bool, error) {
			if c == '?' {
				obeyed++
			}
			return c == '?', nil
		}}
		text, err := io.ReadAll(e)
		if err != nil {
			t.Fatal(err)
		}
		// One of each ~~ goes, and one at the very end.
		if lost := len(typed) - len(text) - 2*obeyed; lost < 0 || lost > strings.Count(string(typed), "~~")+1 {
			t.Errorf("%q became %q, %d sequences obeyed", typed, text, obeyed)
		}
		if without := strings.ReplaceAll(string(typed), "~", ""); obeyed == 0 && strings.ReplaceAll(string(text), "~", "") != without {
			t.Errorf("%q became %q", typed, text)
		}
	})
}

// chunks reads n bytes at a time.
type chunks struct {
	b []byte
	n int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.n)], c.b)
	c.b = c.b[n:]
	return n, nil
}
