package wire

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// messages holds one filled value of every message, with the phase in which it
// is decoded.
var messages = []struct {
	phase   Phase
	msg     Msg
	lenient int // how many trailing bytes peers are known to leave out
}{
	{PhaseAny, &Disconnect{Reason: 2, Description: "why", Language: "en"}, 6},
	{PhaseAny, &Ignore{Data: []byte("x")}, 5},
	{PhaseAny, &Unimplemented{Seq: 7}, 0},
	{PhaseAny, &Debug{AlwaysDisplay: true, Message: "m", Language: "en"}, 0},
	{PhaseAny, &ServiceRequest{Service: ServiceUserauth}, 0},
	{PhaseAny, &ServiceAccept{Service: ServiceUserauth}, 4 + len(ServiceUserauth)},
	{PhaseAny, &ExtInfo{Extensions: []Extension{{"a", []byte("b")}, {"c", []byte{}}}}, 0},
	{PhaseAny, &KexInit{Cookie: [16]byte{1, 2}, Kex: []string{"a", "b"}, HostKey: []string{"h"}, CipherClient: []string{"c"},
		CipherServer: []string{"d"}, MACClient: []string{"e"}, MACServer: []string{"f"}, CompressionClient: []string{"none"},
		CompressionServer: []string{"none"}, FirstKexFollows: true, Reserved: 9}, 0},
	{PhaseAny, &NewKeys{}, 0},
	{PhaseKexShare, &KexShareInit{Share: []byte{1, 2}}, 0},
	{PhaseKexShare, &KexShareReply{HostKey: []byte("k"), Share: []byte("s"), Signature: []byte("sig")}, 0},
	{PhaseKexGex, &KexGexRequest{Min: 1, N: 2, Max: 3}, 0},
	{PhaseKexGex, &KexGexGroup{P: []byte{5}, G: []byte{2}}, 0},
	{PhaseKexGex, &KexGexInit{Share: []byte{3}}, 0},
	{PhaseKexGex, &KexGexReply{HostKey: []byte("k"), Share: []byte{4}, Signature: []byte("sig")}, 0},
	{PhaseAny, &UserauthRequest{User: "u", Service: "s", Method: MethodPassword, Body: []byte("secret")}, 6},
	{PhaseAny, &UserauthFailure{Methods: []string{"a", "b"}, Partial: true}, 0},
	{PhaseAny, &UserauthSuccess{}, 0},
	{PhaseAny, &UserauthBanner{Message: "m", Language: "l"}, 0},
	{PhasePublickey, &UserauthPKOK{Algorithm: "a", Key: []byte("k")}, 0},
	{PhasePassword, &UserauthPasswdChange{Prompt: "p", Language: "l"}, 0},
	{PhaseKbdint, &UserauthInfoRequest{Name: "n", Instruction: "i", Language: "l", Prompts: []Prompt{{"p", true}, {"q", false}}}, 0},
	{PhaseKbdint, &UserauthInfoResponse{Answers: []string{"secret", "x"}}, 0},
	{PhaseAny, &GlobalRequest{Type: "t", WantReply: true, Data: []byte("d")}, 1},
	{PhaseAny, &RequestSuccess{Data: []byte("d")}, 1},
	{PhaseAny, &RequestFailure{}, 0},
	{PhaseAny, &ChannelOpen{Type: "t", SenderChannel: 1, InitialWindow: 2, MaxPacket: 3, Data: []byte("d")}, 1},
	{PhaseAny, &ChannelOpenConfirmation{RecipientChannel: 1, SenderChannel: 2, InitialWindow: 3, MaxPacket: 4, Data: []byte("d")}, 1},
	{PhaseAny, &ChannelOpenFailure{RecipientChannel: 1, Reason: 2, Description: "d", Language: "l"}, 10},
	{PhaseAny, &ChannelWindowAdjust{RecipientChannel: 1, Bytes: 2}, 0},
	{PhaseAny, &ChannelData{RecipientChannel: 1, Data: []byte("data")}, 0},
	{PhaseAny, &ChannelExtendedData{RecipientChannel: 1, DataType: 1, Data: []byte("data")}, 0},
	{PhaseAny, &ChannelEOF{RecipientChannel: 1}, 0},
	{PhaseAny, &ChannelClose{RecipientChannel: 1}, 0},
	{PhaseAny, &ChannelRequest{RecipientChannel: 1, Type: "t", WantReply: true, Data: []byte("d")}, 1},
	{PhaseAny, &ChannelSuccess{RecipientChannel: 1}, 0},
	{PhaseAny, &ChannelFailure{RecipientChannel: 1}, 0},
	{PhaseAny, &Ping{Data: []byte("p")}, 0},
	{PhaseAny, &Pong{Data: []byte("p")}, 0},
}

func TestRoundTrip(t *testing.T) {
	for _, c := range messages {
		b := c.msg.Append(nil)
		got, err := Decode(c.phase, b)
		if err != nil {
			t.Errorf("%s: %v", MsgName(c.msg), err)
			continue
		}
		if !reflect.DeepEqual(got, c.msg) {
			t.Errorf("%s: got %+v, want %+v", MsgName(c.msg), got, c.msg)
		}
		if b[0] != c.msg.Num() {
			t.Errorf("%s: number %d, want %d", MsgName(c.msg), b[0], c.msg.Num())
		}
		if pre := c.msg.Append([]byte("x")); !bytes.Equal(pre, append([]byte("x"), b...)) {
			t.Errorf("%s: Append does not append", MsgName(c.msg))
		}
	}
}

// TestEveryMessage fails when a message has no sample in the list.
func TestEveryMessage(t *testing.T) {
	have := map[reflect.Type]bool{}
	for _, c := range messages {
		have[reflect.TypeOf(c.msg)] = true
	}
	for phase := PhaseAny; phase <= PhaseKbdint; phase++ {
		for num := range 256 {
			if m := newMsg(phase, byte(num)); m != nil && !have[reflect.TypeOf(m)] {
				t.Errorf("%T has no sample", m)
			}
		}
	}
}

func TestTruncation(t *testing.T) {
	for _, c := range messages {
		b := c.msg.Append(nil)
		for n := range len(b) - c.lenient {
			if n == 0 && len(b) == 1 {
				continue
			}
			if _, err := Decode(c.phase, b[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken for a message", MsgName(c.msg), n, len(b))
			}
		}
	}
}

func TestTrailing(t *testing.T) {
	for _, c := range messages {
		switch c.msg.(type) {
		case *UserauthRequest, *GlobalRequest, *RequestSuccess, *ChannelOpen, *ChannelOpenConfirmation, *ChannelRequest, *Ignore:
			continue // their last field is all that is left
		}
		if _, err := Decode(c.phase, append(c.msg.Append(nil), 0)); err == nil {
			t.Errorf("%s: a byte behind the last field is taken", MsgName(c.msg))
		}
	}
}

var bodies = []Body{
	&DirectTCPIP{"h", 1, "o", 2}, &ForwardedTCPIP{"a", 1, "o", 2}, &DirectStreamlocal{"/p"}, &ForwardedStreamlocal{"/p"},
	&TCPIPForward{"a", 1}, &TCPIPForwardReply{1}, &StreamlocalForward{"/p"}, &PtyReq{"xterm", 1, 2, 3, 4, []byte{0}},
	&WindowChange{1, 2, 3, 4}, &Env{"n", "v"}, &Text{"t"}, &ExitStatus{1}, &ExitSignal{"TERM", true, "m", "l"},
	&HostKeys{[][]byte{[]byte("a"), []byte("b")}},
}

func TestBodies(t *testing.T) {
	for _, want := range bodies {
		b := want.Append(nil)
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(Body)
		if err := ParseBody(b, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%T: got %+v, %v, want %+v", want, got, err, want)
		}
		_, list := want.(*HostKeys)
		for n := range b {
			if err := ParseBody(b[:n], reflect.New(reflect.TypeOf(want).Elem()).Interface().(Body)); err == nil && !list {
				t.Errorf("%T: %d of %d bytes are taken", want, n, len(b))
			}
		}
		if err := ParseBody(append(b, 0), got); err == nil {
			t.Errorf("%T: a byte behind the last field is taken", want)
		}
	}
}

func TestUserauthBodies(t *testing.T) {
	for _, hostbound := range []bool{false, true} {
		want := &PublickeyBody{HasSignature: true, Algorithm: "a", Key: []byte("k"), Hostbound: hostbound, Signature: []byte("s")}
		if hostbound {
			want.HostKey = []byte("h")
		}
		b := want.Append(nil)
		if got, err := ParsePublickeyBody(b, hostbound); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for n := range b {
			if _, err := ParsePublickeyBody(b[:n], hostbound); err == nil {
				t.Errorf("publickey body: %d of %d bytes are taken", n, len(b))
			}
		}
	}
	pw := &PasswordBody{Change: true, Password: []byte("a"), New: []byte("b")}
	if got, err := ParsePasswordBody(pw.Append(nil)); err != nil || !reflect.DeepEqual(got, pw) {
		t.Errorf("got %+v, %v", got, err)
	}
	kb := &KbdintBody{Language: "l", Submethods: "s"}
	if got, err := ParseKbdintBody(kb.Append(nil)); err != nil || !reflect.DeepEqual(got, kb) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestRedaction looks for the word "secret", which the samples above put
// wherever a secret may stand.
func TestRedaction(t *testing.T) {
	for _, c := range messages {
		if b := Redact(c.msg).Append(nil); bytes.Contains(b, []byte("secret")) {
			t.Errorf("%s shows its secret", MsgName(c.msg))
		}
	}
	kept := &UserauthRequest{User: "u", Service: "s", Method: MethodPublickey, Body: []byte("public")}
	if !bytes.Contains(Redact(kept).Append(nil), []byte("public")) {
		t.Error("what is no secret is redacted as well")
	}
	unknown := &UserauthRequest{Method: "new-method", Body: []byte("secret")}
	if bytes.Contains(Redact(unknown).Append(nil), []byte("secret")) {
		t.Error("the body of an unknown method is shown")
	}
}

func TestNameList(t *testing.T) {
	long := strings.Repeat("a", MaxNameList+1)
	for name, c := range map[string]struct {
		in   string
		want []string
		ok   bool
	}{
		"empty":          {"", nil, true},
		"two":            {"a,b", []string{"a", "b"}, true},
		"empty names":    {"a,,b,", []string{"a", "b"}, true},
		"space":          {"a b", nil, false},
		"control":        {"a\x00b", nil, false},
		"not ASCII":      {"é", nil, false},
		"too long":       {long, nil, false},
		"too many names": {strings.Repeat("a,", MaxNames) + "a", nil, false},
	} {
		p := NewParser(AppendString(nil, c.in))
		got := p.NameList()
		if ok := p.Done() == nil; ok != c.ok || c.ok && !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, %v, want %q, %v", name, got, p.Err(), c.want, c.ok)
		}
	}
}

func TestMpint(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		ok   bool
	}{
		"zero":         {nil, true},
		"one":          {[]byte{1}, true},
		"high bit":     {[]byte{0, 0x80}, true},
		"negative":     {[]byte{0x80}, false},
		"leading zero": {[]byte{0, 1}, false},
		"zero as zero": {[]byte{0}, false},
		"too long":     {append([]byte{1}, make([]byte, MaxMpint)...), false},
	} {
		if err := CheckMpint(c.body); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got := MpintBody([]byte{0, 0, 0x80}); !bytes.Equal(got, []byte{0, 0x80}) {
		t.Errorf("got %x", got)
	}
}

func TestCounts(t *testing.T) {
	for name, b := range map[string][]byte{
		"extensions": AppendUint32([]byte{NumExtInfo}, 1<<31),
		"prompts":    AppendUint32(append([]byte{NumUserauthInfoRequest}, make([]byte, 12)...), 1<<31),
		"answers":    AppendUint32([]byte{NumUserauthInfoResponse}, 1<<31),
		"string":     {NumServiceRequest, 0xff, 0xff, 0xff, 0xff},
	} {
		phase := PhaseAny
		if b[0] >= 60 {
			phase = PhaseKbdint
		}
		if _, err := Decode(phase, b); err == nil {
			t.Errorf("%s: a count beyond the message is taken", name)
		}
	}
}

func TestFastTwins(t *testing.T) {
	m := &ChannelData{RecipientChannel: 9, Data: []byte("data")}
	b := m.Append(nil)
	if id, data, ok := ParseChannelData(b); !ok || id != 9 || string(data) != "data" {
		t.Errorf("got %d, %q, %v", id, data, ok)
	}
	head := make([]byte, ChannelDataHeader)
	PutChannelDataHeader(head, 9, 4)
	if !bytes.Equal(append(head, "data"...), b) {
		t.Errorf("got %x, want %x", head, b)
	}
	for n := range b {
		if _, _, ok := ParseChannelData(b[:n]); ok {
			t.Errorf("%d of %d bytes are taken", n, len(b))
		}
	}
	if _, _, ok := ParseChannelData(append(b, 0)); ok {
		t.Error("a byte behind the data is taken")
	}
	adjust := (&ChannelWindowAdjust{RecipientChannel: 1, Bytes: 2}).Append(nil)
	if n := testing.AllocsPerRun(100, func() {
		ParseChannelData(b)
		ParseChannelWindowAdjust(adjust)
		PutChannelDataHeader(head, 1, 2)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDecode checks that what is taken is written back as it came, and nothing
// panics.
func FuzzDecode(f *testing.F) {
	for _, c := range messages {
		f.Add(byte(c.phase), c.msg.Append(nil))
	}
	f.Fuzz(func(t *testing.T, phase byte, b []byte) {
		m, err := Decode(Phase(phase%6), b)
		if err != nil {
			return
		}
		again, err := Decode(Phase(phase%6), m.Append(nil))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v becomes %+v, %v", m, again, err)
		}
		Redact(m).Append(nil)
	})
}

// FuzzBody is FuzzDecode for the bodies of opens and requests.
func FuzzBody(f *testing.F) {
	for i, b := range bodies {
		f.Add(byte(i), b.Append(nil))
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		body := reflect.New(reflect.TypeOf(bodies[int(which)%len(bodies)]).Elem()).Interface().(Body)
		if ParseBody(b, body) != nil {
			return
		}
		again := reflect.New(reflect.TypeOf(body).Elem()).Interface().(Body)
		if err := ParseBody(body.Append(nil), again); err != nil || !reflect.DeepEqual(again, body) {
			t.Errorf("%+v becomes %+v, %v", body, again, err)
		}
	})
}

// FuzzUserauthBody feeds the bodies of login requests.
func FuzzUserauthBody(f *testing.F) {
	f.Add((&PublickeyBody{HasSignature: true, Algorithm: "a", Key: []byte("k"), Signature: []byte("s")}).Append(nil))
	f.Add((&PasswordBody{Password: []byte("p")}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		ParsePublickeyBody(b, false)
		ParsePublickeyBody(b, true)
		ParsePasswordBody(b)
		ParseKbdintBody(b)
	})
}
