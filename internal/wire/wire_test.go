package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

const rounds = 200

// leaf is one value of a message as the RFCs' figures list them.
type leaf struct {
	typ string
	val any
}

// layouts are the figures of the RFCs and of OpenSSH's PROTOCOL, written down
// apart from the code. "rest" is whatever the message carries for others. The
// fields of the structs stand in the same order.
var layouts = map[string]string{
	"Disconnect":     "uint32 string string",
	"Ignore":         "string",
	"Unimplemented":  "uint32",
	"Debug":          "boolean string string",
	"ServiceRequest": "string",
	"ServiceAccept":  "string",
	"ExtInfo":        "count string string string string",
	"NewCompress":    "",
	"KexInit": "cookie names names names names names names names names names names" +
		" boolean uint32",
	"NewKeys":       "",
	"KexShareInit":  "string",
	"KexShareReply": "string string string",
	"KexGexRequest": "uint32 uint32 uint32",
	"KexGexGroup":   "mpint mpint",
	"KexGexInit":    "mpint",
	"KexGexReply":   "string mpint string",

	"UserauthRequest":      "string string string rest",
	"UserauthFailure":      "names boolean",
	"UserauthSuccess":      "",
	"UserauthBanner":       "string string",
	"UserauthPKOK":         "string string",
	"UserauthPasswdChange": "string string",
	"UserauthInfoRequest":  "string string string count string boolean string boolean",
	"UserauthInfoResponse": "count string string",

	"GlobalRequest":           "string boolean rest",
	"RequestSuccess":          "rest",
	"RequestFailure":          "",
	"ChannelOpen":             "string uint32 uint32 uint32 rest",
	"ChannelOpenConfirmation": "uint32 uint32 uint32 uint32 rest",
	"ChannelOpenFailure":      "uint32 uint32 string string",
	"ChannelWindowAdjust":     "uint32 uint32",
	"ChannelData":             "uint32 string",
	"ChannelExtendedData":     "uint32 uint32 string",
	"ChannelEOF":              "uint32",
	"ChannelClose":            "uint32",
	"ChannelRequest":          "uint32 string boolean rest",
	"ChannelSuccess":          "uint32",
	"ChannelFailure":          "uint32",
	"Ping":                    "string",
	"Pong":                    "string",

	"DirectTCPIP":          "string uint32 string uint32",
	"ForwardedTCPIP":       "string uint32 string uint32",
	"DirectStreamlocal":    "string empty zero",
	"ForwardedStreamlocal": "string empty",
	"X11":                  "string uint32",
	"TCPIPForward":         "string uint32",
	"TCPIPForwardReply":    "uint32",
	"StreamlocalForward":   "string",
	"HostKeys":             "string string",
	"PtyReq":               "string uint32 uint32 uint32 uint32 string",
	"X11Req":               "boolean string string uint32",
	"WindowChange":         "uint32 uint32 uint32 uint32",
	"XonXoff":              "boolean",
	"Env":                  "string string",
	"Text":                 "string",
	"ExitStatus":           "uint32",
	"ExitSignal":           "string boolean string string",
}

// build encodes a layout by the rules of RFC 4251, section 5, with values that
// are all different, and returns them too.
func build(t *testing.T, layout string) (b []byte, want []leaf) {
	t.Helper()
	str := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	for i, typ := range strings.Fields(layout) {
		text := strings.Repeat("v", i+1)
		switch typ {
		case "uint32":
			b = append(b, 0xf0, 1, 2, byte(i))
			want = append(want, leaf{typ, uint32(0xf0010200 + i)})
		case "boolean":
			b = append(b, 1)
			want = append(want, leaf{typ, true})
		case "string":
			str(text)
			want = append(want, leaf{typ, text})
		case "mpint":
			str("\x00\x80" + text)
			want = append(want, leaf{"string", "\x00\x80" + text})
		case "names":
			str(text + ",none")
			want = append(want, leaf{"string", text}, leaf{"string", "none"})
		case "cookie":
			b = append(b, "0123456789abcdef"...)
			want = append(want, leaf{"string", "0123456789abcdef"})
		case "rest":
			b = append(b, text...)
			want = append(want, leaf{"string", text})
		case "count": // two entries follow
			b = append(b, 0, 0, 0, 2)
		case "empty":
			str("")
		case "zero":
			b = append(b, 0, 0, 0, 0)
		default:
			t.Fatalf("unknown type %q", typ)
		}
	}
	return b, want
}

// flatten lists a struct's values in the order of its fields.
func flatten(v reflect.Value) (all []leaf) {
	switch v.Kind() {
	case reflect.Pointer:
		return flatten(v.Elem())
	case reflect.Bool:
		return []leaf{{"boolean", v.Bool()}}
	case reflect.Uint32:
		return []leaf{{"uint32", uint32(v.Uint())}}
	case reflect.String:
		return []leaf{{"string", v.String()}}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			var b []byte
			for i := range v.Len() {
				b = append(b, byte(v.Index(i).Uint()))
			}
			return []leaf{{"string", string(b)}}
		}
		for i := range v.Len() {
			all = append(all, flatten(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			all = append(all, flatten(v.Field(i))...)
		}
	}
	return all
}

func TestLayouts(t *testing.T) {
	check := func(name string, got any, encoded, payload []byte, want []leaf) {
		t.Helper()
		if l := flatten(reflect.ValueOf(got)); !reflect.DeepEqual(l, want) {
			t.Errorf("%s decodes to %v, want %v", name, l, want)
		}
		if !bytes.Equal(encoded, payload) {
			t.Errorf("%s is encoded as %x, want %x", name, encoded, payload)
		}
	}
	for _, k := range allKinds(t) {
		layout, ok := layouts[k.name]
		if !ok {
			t.Errorf("%s has no layout", k.name)
			continue
		}
		fields, want := build(t, layout)
		payload := append([]byte{k.num}, fields...)
		m, err := Decode(k.phase, payload)
		if err != nil {
			t.Errorf("%s: %v", k.name, err)
			continue
		}
		check(k.name, m, m.Append(nil), payload, want)
	}
	for _, b := range allBodies() {
		name := reflect.TypeOf(b).Elem().Name()
		layout, ok := layouts[name]
		if !ok {
			t.Errorf("%s has no layout", name)
			continue
		}
		data, want := build(t, layout)
		if err := ParseBody(data, b); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		check(name, b, b.Append(nil), data, want)
	}
}

// Figures of RFC 4252, sections 7 and 8, RFC 4256, section 3.1, and OpenSSH
// PROTOCOL, section 3.1.
func TestUserauthBodyLayouts(t *testing.T) {
	str := func(parts ...string) (b []byte) {
		for _, s := range parts {
			b = append(b, 0, 0, 0, byte(len(s)))
			b = append(b, s...)
		}
		return b
	}
	for _, c := range []struct {
		name, method string
		data         []byte
		want         interface{ Append([]byte) []byte }
	}{
		{"probe", MethodPublickey, append([]byte{0}, str("alg", "key")...),
			&PublickeyBody{Algorithm: "alg", Key: []byte("key")}},
		{"signed", MethodPublickey, append([]byte{1}, str("alg", "key", "sig")...),
			&PublickeyBody{HasSignature: true, Algorithm: "alg", Key: []byte("key"), Signature: []byte("sig")}},
		{"hostbound", MethodHostbound, append([]byte{1}, str("alg", "key", "host", "sig")...),
			&PublickeyBody{HasSignature: true, Algorithm: "alg", Key: []byte("key"), Hostbound: true, HostKey: []byte("host"), Signature: []byte("sig")}},
		{"password", MethodPassword, append([]byte{0}, str("secret")...), &PasswordBody{Password: []byte("secret")}},
		{"change", MethodPassword, append([]byte{1}, str("old", "new")...),
			&PasswordBody{Change: true, Password: []byte("old"), New: []byte("new")}},
		{"kbdint", MethodKeyboardInteractive, str("en", "pam"), &KbdintBody{Language: "en", Submethods: "pam"}},
	} {
		for _, b := range userauthBodies {
			if b.method != c.method {
				continue
			}
			if got, err := b.parse(c.data); err != nil || !equal(got, c.want) {
				t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
			}
		}
		if got := c.want.Append(nil); !bytes.Equal(got, c.data) {
			t.Errorf("%s: encoded as %x, want %x", c.name, got, c.data)
		}
	}
	signed := &PublickeyBody{HasSignature: true, Algorithm: "alg", Key: []byte("key"), Signature: []byte("sig")}
	if got, want := signed.AppendUnsigned(nil), append([]byte{1}, str("alg", "key")...); !bytes.Equal(got, want) {
		t.Errorf("what is signed ends with %x, want %x", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range allKinds(t) {
		for range rounds {
			want := k.make()
			fill(want, r)
			payload := want.Append(nil)
			got, err := Decode(k.phase, payload)
			if err != nil {
				t.Fatalf("%s: %v in %x", k.name, err, payload)
			}
			if !equal(got, want) {
				t.Fatalf("%s: got %+v, want %+v", k.name, got, want)
			}
		}
	}
	for _, b := range allBodies() {
		for range rounds {
			want, got := newLike(b), newLike(b)
			fill(want, r)
			if err := ParseBody(want.Append(nil), got); err != nil {
				t.Fatalf("%T: %v", b, err)
			}
			if !equal(got, want) {
				t.Fatalf("%T: got %+v, want %+v", b, got, want)
			}
		}
	}
	for range rounds {
		pk, pw, kb := new(PublickeyBody), new(PasswordBody), new(KbdintBody)
		fill(pk, r)
		fill(pw, r)
		fill(kb, r)
		if got, err := ParsePublickeyBody(pk.Append(nil), pk.Hostbound); err != nil || !equal(got, pk) {
			t.Fatalf("got %+v, %v, want %+v", got, err, pk)
		}
		if got, err := ParsePasswordBody(pw.Append(nil)); err != nil || !equal(got, pw) {
			t.Fatalf("got %+v, %v, want %+v", got, err, pw)
		}
		if got, err := ParseKbdintBody(kb.Append(nil)); err != nil || !equal(got, kb) {
			t.Fatalf("got %+v, %v, want %+v", got, err, kb)
		}
	}
}

// Append must leave alone what is before it, and parse must leave nothing of
// what a struct held before.
func TestReuse(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, k := range allKinds(t) {
		for range rounds {
			used, want := k.make(), k.make()
			fill(used, r)
			fill(want, r)
			b := want.Append([]byte("before"))
			if !bytes.HasPrefix(b, []byte("before")) {
				t.Fatalf("%s overwrites what was there", k.name)
			}
			if err := Parse(b[len("before"):], used); err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			if !equal(used, want) {
				t.Fatalf("%s keeps old values: %+v, want %+v", k.name, used, want)
			}
		}
	}
	for _, b := range allBodies() {
		for range rounds {
			used, want := newLike(b), newLike(b)
			fill(used, r)
			fill(want, r)
			if err := ParseBody(want.Append(nil), used); err != nil || !equal(used, want) {
				t.Fatalf("%T keeps old values: %+v, %v, want %+v", b, used, err, want)
			}
		}
	}
}

func TestDecodeUnknown(t *testing.T) {
	for _, c := range []struct {
		phase Phase
		num   byte
	}{
		{PhaseAny, 0}, {PhaseAny, 9}, {PhaseAny, 30}, {PhaseAny, 60}, {PhaseAny, 101}, {PhaseAny, 191}, {PhaseAny, 255},
		{PhaseKexShare, 32}, {PhaseKexShare, 60}, {PhaseKexGex, 30}, // 30 is RFC 4419's old request
		{PhasePublickey, 61}, {PhasePassword, 61}, {PhaseKbdint, 62}, {PhaseKbdint, 31},
	} {
		if m, err := Decode(c.phase, []byte{c.num, 0, 0, 0, 0}); !errors.Is(err, ErrUnknown) {
			t.Errorf("phase %d, number %d: %v, %v, want ErrUnknown", c.phase, c.num, m, err)
		}
	}
	for _, payload := range [][]byte{nil, {}} {
		if m, err := Decode(PhaseAny, payload); err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("an empty payload is decoded as %v, %v", m, err)
		}
	}
	if err := Parse([]byte{NumChannelEOF, 0, 0, 0, 1}, new(ChannelClose)); err == nil {
		t.Error("CHANNEL_EOF is parsed as CHANNEL_CLOSE")
	}
	if err := Parse(nil, new(NewKeys)); err == nil {
		t.Error("nothing is parsed as NEWKEYS")
	}
}
