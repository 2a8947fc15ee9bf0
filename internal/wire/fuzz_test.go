package wire

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
)

// Decode takes any bytes in any phase; what it takes, Append gives back in a
// form that decodes to the same, and redacting never fails.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, k := range allKinds(f) {
		m := k.make()
		f.Add(byte(k.phase), m.Append(nil))
		fill(m, r)
		f.Add(byte(k.phase), m.Append(nil))
	}
	for _, b := range allBodies() {
		fill(b, r)
		for _, typ := range []string{ChannelDirectTCPIP, RequestEnv, RequestX11, RequestPty, GlobalHostKeys} {
			f.Add(byte(PhaseAny), (&ChannelRequest{Type: typ, Data: b.Append(nil)}).Append(nil))
		}
	}
	for _, b := range userauthBodies {
		f.Add(byte(PhaseAny), (&UserauthRequest{User: "u", Service: ServiceConnection, Method: b.method, Body: userauthSample(b.method, r)}).Append(nil))
	}
	f.Fuzz(func(t *testing.T, phase byte, payload []byte) {
		kept := bytes.Clone(payload)
		m, err := Decode(Phase(phase), payload)
		if !bytes.Equal(payload, kept) {
			t.Fatal("Decode changes its input")
		}
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
		checkTwins(t, payload)
		if err != nil {
			return
		}
		again, err := Decode(Phase(phase), m.Append(nil))
		if err != nil || !equal(again, m) {
			t.Fatalf("%+v is encoded so that it decodes to %+v, %v", m, again, err)
		}
		hidden := Redact(m)
		if hidden.Num() != m.Num() || reflect.TypeOf(hidden) != reflect.TypeOf(m) {
			t.Fatalf("%T is redacted to %T", m, hidden)
		}
		if _, err := Decode(Phase(phase), hidden.Append(nil)); err != nil {
			t.Fatalf("redacted: %v", err)
		}
	})
}

func FuzzParseBody(f *testing.F) {
	r := rand.New(rand.NewPCG(15, 16))
	bodies := allBodies()
	for i, b := range bodies {
		f.Add(byte(i), b.Append(nil))
		fill(b, r)
		f.Add(byte(i), b.Append(nil))
	}
	f.Fuzz(func(t *testing.T, i byte, data []byte) {
		b := newLike(bodies[int(i)%len(bodies)])
		if ParseBody(data, b) != nil {
			return
		}
		again := newLike(b)
		if err := ParseBody(b.Append(nil), again); err != nil || !equal(again, b) {
			t.Fatalf("%+v is encoded so that it parses to %+v, %v", b, again, err)
		}
	})
}

func FuzzUserauthBody(f *testing.F) {
	r := rand.New(rand.NewPCG(17, 18))
	for i, b := range userauthBodies {
		f.Add(byte(i), userauthSample(b.method, r))
	}
	f.Add(byte(0), (&PublickeyBody{Algorithm: "ssh-ed25519", Key: []byte("probe")}).Append(nil))
	f.Add(byte(2), (&PasswordBody{Password: []byte("secret")}).Append(nil))
	f.Fuzz(func(t *testing.T, i byte, data []byte) {
		b := userauthBodies[int(i)%len(userauthBodies)]
		v, err := b.parse(data)
		if err != nil {
			return
		}
		again, err := b.parse(v.(interface{ Append([]byte) []byte }).Append(nil))
		if err != nil || !equal(again, v) {
			t.Fatalf("%+v is encoded so that it parses to %+v, %v", v, again, err)
		}
	})
}

func FuzzNameList(f *testing.F) {
	for _, s := range []string{"", "none", "zlib,none", ",a,,b,", "a b", "\x00", "ä"} {
		f.Add(AppendString(nil, s))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'a'})
	f.Fuzz(func(t *testing.T, data []byte) {
		p := NewParser(data)
		names := p.NameList()
		if p.Err() != nil {
			if names != nil {
				t.Fatalf("%v with %v", names, p.Err())
			}
			return
		}
		if len(names) > MaxNames {
			t.Fatalf("%d names", len(names))
		}
		for _, n := range names {
			for _, c := range []byte(n) {
				if c <= ' ' || c >= 0x7f || c == ',' {
					t.Fatalf("the name %q", n)
				}
			}
			if n == "" {
				t.Fatal("an empty name")
			}
		}
		p = NewParser(AppendNameList(nil, names))
		if again := p.NameList(); p.Done() != nil || !equal(again, names) {
			t.Fatalf("%v is encoded so that it parses to %v, %v", names, again, p.Err())
		}
	})
}

func FuzzMpint(f *testing.F) {
	for _, b := range [][]byte{nil, {0}, {1}, {0x80}, {0, 0x80}, {0, 0, 0x80}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		body := MpintBody(v)
		if len(v) < MaxMpint {
			if err := CheckMpint(body); err != nil {
				t.Fatalf("%x becomes the mpint %x: %v", v, body, err)
			}
		}
		if !bytes.Equal(bytes.TrimLeft(v, "\x00"), bytes.TrimLeft(body, "\x00")) {
			t.Fatalf("%x becomes the mpint %x", v, body)
		}
		if CheckMpint(v) == nil && !bytes.Equal(MpintBody(v), v) {
			t.Fatalf("the mpint %x is taken and becomes %x", v, MpintBody(v))
		}
	})
}
