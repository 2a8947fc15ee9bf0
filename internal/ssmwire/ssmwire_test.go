package ssmwire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// vector is a frame as AWS's programs make it.
const vector = `
	00000074696e7075745f73747265616d 5f646174612020202020202020202020
	20202020000000010000018bcfe56800 00000000000000050000000000000000
	8899aabbccddeeff0011223344556677 2cf24dba5fb0a30e26e83b2ac5b9e29e
	1b161e5c1fa7425e73043362938b9824 000000010000000568656c6c6f`

func vectorFrame(t testing.TB) (Frame, []byte) {
	b, err := hex.DecodeString(strings.Join(strings.Fields(vector), ""))
	if err != nil {
		t.Fatal(err)
	}
	return Frame{
		Type: Input, Created: 1700000000000, Sequence: 5, PayloadType: PayloadData, Payload: []byte("hello"),
		ID: ID{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
	}, b
}

func TestFrameVector(t *testing.T) {
	f, want := vectorFrame(t)
	if got := f.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("Append:\n%x, want\n%x", got, want)
	}
	got, err := Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	if got.Type != f.Type || got.Created != f.Created || got.Sequence != f.Sequence || got.Flags != f.Flags ||
		got.ID != f.ID || got.PayloadType != f.PayloadType || !bytes.Equal(got.Payload, f.Payload) {
		t.Errorf("Parse: %+v, want %+v", got, f)
	}
	if got, want := f.ID.String(), "00112233-4455-6677-8899-aabbccddeeff"; got != want {
		t.Errorf("ID %s, want %s", got, want)
	}
}

func TestEveryTruncationFails(t *testing.T) {
	_, b := vectorFrame(t)
	for n := range b {
		if _, err := Parse(b[:n]); err == nil {
			t.Errorf("%d of %d bytes: no error", n, len(b))
		}
	}
}

func TestBadFrames(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(b []byte)
		want error
	}{
		{"no header length", func(b []byte) { clear(b[:4]) }, ErrHead},
		{"header length beyond the message", func(b []byte) { b[0] = 0xff }, ErrShort},
		{"header length at the very end", func(b []byte) { b[3] = byte(len(b) - 3) }, ErrShort},
		{"no type", func(b []byte) { copy(b[4:36], strings.Repeat(" ", 32)) }, ErrHead},
		{"no date", func(b []byte) { clear(b[40:48]) }, ErrHead},
		{"negative sequence number", func(b []byte) { b[48] = 0x80 }, ErrHead},
		{"length too small", func(b []byte) { b[119]-- }, ErrLength},
		{"length of 4 GiB", func(b []byte) { copy(b[116:], "\xff\xff\xff\xff") }, ErrLength},
		{"a byte of the payload", func(b []byte) { b[120] ^= 1 }, ErrDigest},
		{"a byte of the digest", func(b []byte) { b[80] ^= 1 }, ErrDigest},
	} {
		_, b := vectorFrame(t)
		c.edit(b)
		if _, err := Parse(b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// What starts and pauses publication comes with nothing else filled in.
func TestPublicationIsNotChecked(t *testing.T) {
	for _, typ := range []string{StartPublication, PausePublication} {
		b := make([]byte, HeaderSize)
		copy(b[atType:], typ)
		if f, err := Parse(b); err != nil || f.Type != typ {
			t.Errorf("%s: %+v, %v", typ, f, err)
		}
	}
}

func TestLongerHead(t *testing.T) {
	_, b := vectorFrame(t)
	longer := append([]byte{}, b[:116]...)
	longer = append(longer, 1, 2, 3, 4)
	longer = append(longer, b[116:]...)
	longer[3] += 4
	if f, err := Parse(longer); err != nil || string(f.Payload) != "hello" {
		t.Errorf("payload %q, %v", f.Payload, err)
	}
}

func TestAck(t *testing.T) {
	f, _ := vectorFrame(t)
	b := AppendAck(nil, Output, f.ID, 17)
	want := `{"AcknowledgedMessageType":"output_stream_data","AcknowledgedMessageId":"00112233-4455-6677-8899-aabbccddeeff","AcknowledgedMessageSequenceNumber":17,"IsSequentialMessage":true}`
	if string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
	if a, err := ParseAck(b); err != nil || a != (Ack{Output, f.ID.String(), 17, true}) {
		t.Errorf("%+v, %v", a, err)
	}
	for _, bad := range []string{"", "{}", "[]", `{"AcknowledgedMessageSequenceNumber":-3}`, `{"AcknowledgedMessageSequenceNumber":1e30}`} {
		if a, err := ParseAck([]byte(bad)); err == nil {
			t.Errorf("%q: %+v, want an error", bad, a)
		}
	}
}

func TestHandshake(t *testing.T) {
	r, err := ParseHandshakeRequest([]byte(`{"AgentVersion":"3.3.987.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port","Properties":{"portNumber":"5432","host":"db","type":"LocalPortForwarding","localPortNumber":0}}}]}`))
	if err != nil || r.AgentVersion != "3.3.987.0" || len(r.RequestedClientActions) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	s, err := ParseSessionType(r.RequestedClientActions[0].ActionParameters)
	if want := (SessionType{"Port", PortProperties{"5432", "db", LocalPortForwarding}}); s != want || err != nil {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
	if s, err := ParseSessionType([]byte(`{"SessionType":"Port","Properties":["strange"]}`)); err != nil || s.SessionType != "Port" {
		t.Errorf("strange properties: %+v, %v", s, err)
	}
	got := (&HandshakeResponse{ClientVersion: "1.2.792.0", ProcessedClientActions: []ActionResult{{ActionType: ActionSessionType, ActionStatus: ActionSuccess}}}).Marshal()
	if want := `{"ClientVersion":"1.2.792.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""}],"Errors":null}`; string(got) != want {
		t.Errorf("response %s, want %s", got, want)
	}
}

func TestNewer(t *testing.T) {
	for _, c := range []struct {
		version, than string
		want          bool
	}{
		{"3.3.987.0", AgentMultiplexes, true},
		{"3.0.196.0", AgentMultiplexes, false},
		{"3.0.196.1", AgentMultiplexes, true},
		{"2.9.999.9", AgentMultiplexes, false},
		{"10.0.0.0", AgentMultiplexes, true},
		{"3.1", AgentMultiplexes, false},
		{"3.1.x.0", AgentMultiplexes, false},
		{"", AgentTerminates, false},
	} {
		if got := Newer(c.version, c.than); got != c.want {
			t.Errorf("Newer(%q, %q) = %v, want %v", c.version, c.than, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	frame, b := vectorFrame(f)
	f.Add(b)
	f.Add((&Frame{Type: StartPublication}).Append(nil))
	frame.Payload = AppendAck(nil, Output, frame.ID, 3)
	f.Add(frame.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b)
		if err != nil || len(got.Payload) > len(b) || got.Type == StartPublication || got.Type == PausePublication {
			return
		}
		again, err := Parse(got.Append(nil))
		if err != nil || again.Type != got.Type || again.ID != got.ID || again.Sequence != got.Sequence || !bytes.Equal(again.Payload, got.Payload) {
			t.Errorf("%+v came back as %+v, %v", got, again, err)
		}
	})
}

func FuzzPayloads(f *testing.F) {
	f.Add([]byte(`{"AgentVersion":"3.3.987.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port","Properties":{"portNumber":"22"}}}]}`))
	f.Add(AppendAck(nil, Output, ID{}, 3))
	f.Add([]byte(`{"Output":"gone"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseAck(b); err == nil && a.Sequence < 0 {
			t.Errorf("a negative sequence number %d", a.Sequence)
		}
		ParseClosed(b)
		ParseHandshakeComplete(b)
		if r, err := ParseHandshakeRequest(b); err == nil {
			Newer(r.AgentVersion, AgentTerminates)
			for _, a := range r.RequestedClientActions {
				ParseSessionType(a.ActionParameters)
			}
		}
	})
}
