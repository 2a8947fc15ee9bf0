package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// checkTwins compares the fast decoders with Decode on one payload.
func checkTwins(t *testing.T, payload []byte) {
	t.Helper()
	m, err := Decode(PhaseAny, payload)
	wantData, _ := m.(*ChannelData)
	ch, data, ok := ParseChannelData(payload)
	if ok != (err == nil && wantData != nil) {
		t.Fatalf("ParseChannelData says %v, Decode %T, %v for %x", ok, m, err, payload)
	}
	if ok && (ch != wantData.RecipientChannel || !bytes.Equal(data, wantData.Data)) {
		t.Fatalf("ParseChannelData gives %d %x, Decode %+v", ch, data, wantData)
	}
	if !ok && data != nil {
		t.Fatalf("ParseChannelData gives data of a malformed message")
	}
	wantAdjust, _ := m.(*ChannelWindowAdjust)
	ch, n, ok := ParseChannelWindowAdjust(payload)
	if ok != (err == nil && wantAdjust != nil) {
		t.Fatalf("ParseChannelWindowAdjust says %v, Decode %T, %v for %x", ok, m, err, payload)
	}
	if ok && (ch != wantAdjust.RecipientChannel || n != wantAdjust.Bytes) {
		t.Fatalf("ParseChannelWindowAdjust gives %d %d, Decode %+v", ch, n, wantAdjust)
	}
}

func TestFastTwins(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, m := range []Msg{new(ChannelData), new(ChannelWindowAdjust), new(ChannelEOF), new(ChannelExtendedData)} {
		for range rounds {
			fill(m, r)
			payload := m.Append(nil)
			for n := range len(payload) + 1 {
				checkTwins(t, payload[:n:n])
			}
			checkTwins(t, append(bytes.Clone(payload), 0))
			payload[r.IntN(len(payload))]++
			checkTwins(t, payload)
		}
	}
}

func TestPutChannelDataHeader(t *testing.T) {
	want := (&ChannelData{RecipientChannel: 0xfffffffe, Data: make([]byte, 70000)}).Append(nil)
	got := make([]byte, ChannelDataHeader+70000)
	PutChannelDataHeader(got, 0xfffffffe, 70000)
	if !bytes.Equal(got, want) {
		t.Errorf("header is %x, want %x", got[:ChannelDataHeader], want[:ChannelDataHeader])
	}
}

func TestFastTwinsDoNotAllocate(t *testing.T) {
	data := (&ChannelData{RecipientChannel: 1, Data: make([]byte, 32<<10)}).Append(nil)
	adjust := (&ChannelWindowAdjust{RecipientChannel: 1, Bytes: 1 << 20}).Append(nil)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, ok := ParseChannelData(data); !ok {
			t.Fatal("data refused")
		}
		if _, _, ok := ParseChannelWindowAdjust(adjust); !ok {
			t.Fatal("adjust refused")
		}
		PutChannelDataHeader(data, 1, 32<<10)
	}); n != 0 {
		t.Errorf("%v allocations on the data path, want none", n)
	}
}
