package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Examples of RFC 4251, section 5.
func TestRFC4251Examples(t *testing.T) {
	for _, c := range []struct{ value, wire string }{
		{"", "00 00 00 00"},
		{"09 a3 78 f9 b2 e3 32 a7", "00 00 00 08 09 a3 78 f9 b2 e3 32 a7"},
		{"80", "00 00 00 02 00 80"},
	} {
		want := unhex(t, c.wire)
		for _, zeros := range []string{"", "00", "0000"} {
			if got := AppendMpint(nil, unhex(t, zeros+c.value)); !bytes.Equal(got, want) {
				t.Errorf("mpint %s%s is encoded as %x, want %x", zeros, c.value, got, want)
			}
		}
		p := NewParser(want)
		if got := p.Mpint(); p.Done() != nil || !bytes.Equal(got, want[4:]) {
			t.Errorf("mpint %x is parsed as %x, %v", want, got, p.Err())
		}
	}
	for _, wire := range []string{"00 00 00 02 ed cc", "00 00 00 05 ff 21 52 41 11"} { // -1234, -deadbeef
		p := NewParser(unhex(t, wire))
		if p.Mpint(); !errors.Is(p.Err(), errNegative) {
			t.Errorf("mpint %s: %v, want errNegative", wire, p.Err())
		}
	}
	for _, c := range []struct {
		names []string
		wire  string
	}{
		{nil, "00 00 00 00"},
		{[]string{"zlib"}, "00 00 00 04 7a 6c 69 62"},
		{[]string{"zlib", "none"}, "00 00 00 09 7a 6c 69 62 2c 6e 6f 6e 65"},
	} {
		want := unhex(t, c.wire)
		if got := AppendNameList(nil, c.names); !bytes.Equal(got, want) {
			t.Errorf("%v is encoded as %x, want %x", c.names, got, want)
		}
		p := NewParser(want)
		if got := p.NameList(); p.Done() != nil || !slices.Equal(got, c.names) {
			t.Errorf("%x is parsed as %v, %v, want %v", want, got, p.Err(), c.names)
		}
	}
	if got, want := AppendString(nil, "testing"), unhex(t, "00 00 00 07 74 65 73 74 69 6e 67"); !bytes.Equal(got, want) {
		t.Errorf("string is encoded as %x, want %x", got, want)
	}
	if got, want := AppendUint32(nil, 699921578), unhex(t, "29 b7 f4 aa"); !bytes.Equal(got, want) {
		t.Errorf("uint32 is encoded as %x, want %x", got, want)
	}
}

func TestMpintBodyKeepsItsInput(t *testing.T) {
	in := []byte{0, 0x80, 1}
	if got := MpintBody(in); !bytes.Equal(got, []byte{0, 0x80, 1}) {
		t.Errorf("got %x", got)
	}
	in = []byte{0x80, 1}
	if got := MpintBody(in); !bytes.Equal(got, []byte{0, 0x80, 1}) || !bytes.Equal(in, []byte{0x80, 1}) {
		t.Errorf("got %x, input is %x", got, in)
	}
}

func TestParserBool(t *testing.T) {
	for b, want := range map[byte]bool{0: false, 1: true, 2: true, 0xff: true} {
		if p := NewParser([]byte{b}); p.Bool() != want {
			t.Errorf("boolean %d: want %v", b, want)
		}
	}
	if b := AppendBool(AppendBool(nil, true), false); !bytes.Equal(b, []byte{1, 0}) {
		t.Errorf("booleans are encoded as %x", b)
	}
}

func TestParserFixedSizes(t *testing.T) {
	p := NewParser(unhex(t, "01 00000002 0000000000000003 0405"))
	if a, b, c, d := p.Byte(), p.Uint32(), p.Uint64(), p.Fixed(2); a != 1 || b != 2 || c != 3 || !bytes.Equal(d, []byte{4, 5}) || p.Done() != nil {
		t.Errorf("got %d %d %d %x, %v", a, b, c, d, p.Err())
	}
	if b := AppendUint64(nil, 1<<40+2); !bytes.Equal(b, unhex(t, "0000010000000002")) {
		t.Errorf("uint64 is encoded as %x", b)
	}
}

// After the first failure everything is zero, and the first error stays.
func TestParserErrorSticks(t *testing.T) {
	p := NewParser([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3})
	p.Bytes()
	if !errors.Is(p.Err(), errShort) {
		t.Fatalf("a string of 4 GiB: %v, want errShort", p.Err())
	}
	if p.Byte() != 0 || p.Bool() || p.Uint32() != 0 || p.Uint64() != 0 || p.String() != "" || p.Bytes() != nil ||
		p.NameList() != nil || p.Mpint() != nil || p.Rest() != nil || p.Fixed(1) != nil || p.Len() != 0 {
		t.Error("a failed Parser gives values")
	}
	if !errors.Is(p.Done(), errShort) {
		t.Errorf("Done returns %v, want the first error", p.Done())
	}
	p = NewParser([]byte{1})
	if !errors.Is(p.Done(), errTrailing) {
		t.Errorf("a byte left over: %v, want errTrailing", p.Err())
	}
}

// What a Parser returns must not reach into the bytes behind it.
func TestParserSlicesAreClipped(t *testing.T) {
	in := []byte{0, 0, 0, 1, 'a', 'b'}
	p := NewParser(in)
	_ = append(p.Bytes(), 'x')
	if in[5] != 'b' {
		t.Error("appending to a parsed string overwrites the next field")
	}
}

func TestNameListHostile(t *testing.T) {
	list := func(s string) []byte { return AppendString(nil, s) }
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"a space", list("a b"), errNameList},
		{"a newline", list("a\nb"), errNameList},
		{"NUL", list("a\x00"), errNameList},
		{"DEL", list("a\x7f"), errNameList},
		{"UTF-8", list("ä"), errNameList},
		{"an escape sequence", list("a,\x1b[2J"), errNameList},
		{"too long", list(strings.Repeat("a", MaxNameList+1)), errTooLong},
		{"too many names", list(strings.Repeat("a,", MaxNames) + "a"), errTooLong},
		{"a length of 4 GiB", []byte{0xff, 0xff, 0xff, 0xff, 'a'}, errShort},
		{"a length one too great", []byte{0, 0, 0, 2, 'a'}, errShort},
	} {
		p := NewParser(c.in)
		if names := p.NameList(); !errors.Is(p.Err(), c.want) || names != nil {
			t.Errorf("%s: %v, %v, want %v", c.name, names, p.Err(), c.want)
		}
	}
	for _, c := range []struct {
		in   string
		want []string
	}{
		{strings.Repeat("a", MaxNameList), []string{strings.Repeat("a", MaxNameList)}},
		{strings.Repeat("a,", MaxNames-1) + "a", slices.Repeat([]string{"a"}, MaxNames)},
		{",a,,b,", []string{"a", "b"}},
		{",", nil},
		{"a,a", []string{"a", "a"}},
	} {
		p := NewParser(list(c.in))
		if names := p.NameList(); p.Done() != nil || !slices.Equal(names, c.want) {
			t.Errorf("%.20q: %d names, %v, want %d", c.in, len(names), p.Err(), len(c.want))
		}
	}
}

func TestMpintHostile(t *testing.T) {
	for _, c := range []struct {
		name string
		body []byte
		want error
	}{
		{"zero with a byte", []byte{0}, errMpint},
		{"a leading zero too many", []byte{0, 1}, errMpint},
		{"two leading zeros", []byte{0, 0, 0x80}, errMpint},
		{"negative", []byte{0x80}, errNegative},
		{"too long", append([]byte{1}, make([]byte, MaxMpint)...), errTooLong},
	} {
		p := NewParser(AppendString(nil, c.body))
		if b := p.Mpint(); !errors.Is(p.Err(), c.want) || b != nil {
			t.Errorf("%s: %x, %v, want %v", c.name, b, p.Err(), c.want)
		}
	}
	greatest := append([]byte{0}, bytes.Repeat([]byte{0xff}, MaxMpint-1)...)
	p := NewParser(AppendString(nil, greatest))
	if b := p.Mpint(); p.Done() != nil || !bytes.Equal(b, greatest) {
		t.Errorf("the greatest mpint: %v", p.Err())
	}
}

// A count of entries is a promise only: nothing is allocated for it.
func TestHostileCounts(t *testing.T) {
	for _, c := range []struct {
		name  string
		phase Phase
		in    []byte
	}{
		{"EXT_INFO", PhaseAny, []byte{NumExtInfo, 0xff, 0xff, 0xff, 0xff}},
		{"EXT_INFO at its limit", PhaseAny, []byte{NumExtInfo, 0, 0, 4, 0}},
		{"INFO_REQUEST", PhaseKbdint, append([]byte{NumUserauthInfoRequest}, unhex(t, "00000000 00000000 00000000 ffffffff")...)},
		{"INFO_REQUEST at its limit", PhaseKbdint, append([]byte{NumUserauthInfoRequest}, unhex(t, "00000000 00000000 00000000 00000064")...)},
		{"INFO_RESPONSE", PhaseKbdint, []byte{NumUserauthInfoResponse, 0xff, 0xff, 0xff, 0xff}},
		{"INFO_RESPONSE at its limit", PhaseKbdint, []byte{NumUserauthInfoResponse, 0, 0, 0, 100}},
	} {
		if m, err := Decode(c.phase, c.in); err == nil {
			t.Errorf("%s with entries that are not there is decoded as %+v", c.name, m)
		}
		if n := testing.AllocsPerRun(10, func() { Decode(c.phase, c.in) }); n > 12 {
			t.Errorf("%s: %v allocations for entries that are not there", c.name, n)
		}
	}
}

func TestLimitsOfEntries(t *testing.T) {
	ext := &ExtInfo{Extensions: make([]Extension, MaxExtensions)}
	if _, err := Decode(PhaseAny, ext.Append(nil)); err != nil {
		t.Errorf("%d extensions: %v", MaxExtensions, err)
	}
	ext.Extensions = append(ext.Extensions, Extension{})
	if _, err := Decode(PhaseAny, ext.Append(nil)); !errors.Is(err, errTooLong) {
		t.Errorf("%d extensions: %v, want errTooLong", len(ext.Extensions), err)
	}
	ask := &UserauthInfoRequest{Prompts: make([]Prompt, MaxPrompts)}
	if _, err := Decode(PhaseKbdint, ask.Append(nil)); err != nil {
		t.Errorf("%d prompts: %v", MaxPrompts, err)
	}
	ask.Prompts = append(ask.Prompts, Prompt{})
	if _, err := Decode(PhaseKbdint, ask.Append(nil)); !errors.Is(err, errTooLong) {
		t.Errorf("%d prompts: %v, want errTooLong", len(ask.Prompts), err)
	}
	answer := &UserauthInfoResponse{Answers: make([]string, MaxPrompts)}
	if _, err := Decode(PhaseKbdint, answer.Append(nil)); err != nil {
		t.Errorf("%d answers: %v", MaxPrompts, err)
	}
	answer.Answers = append(answer.Answers, "")
	if _, err := Decode(PhaseKbdint, answer.Append(nil)); !errors.Is(err, errTooLong) {
		t.Errorf("%d answers: %v, want errTooLong", len(answer.Answers), err)
	}
	keys := &HostKeys{Keys: make([][]byte, MaxHostKeys)}
	if err := ParseBody(keys.Append(nil), new(HostKeys)); err != nil {
		t.Errorf("%d host keys: %v", MaxHostKeys, err)
	}
	keys.Keys = append(keys.Keys, nil)
	if err := ParseBody(keys.Append(nil), new(HostKeys)); !errors.Is(err, errTooLong) {
		t.Errorf("%d host keys: %v, want errTooLong", len(keys.Keys), err)
	}
}
