package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

func TestFrame(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		want error // nil: it is read
	}{
		{"whole", []byte{0, 0, 0, 1, numRequestKeys}, nil},
		{"nothing", nil, io.EOF},
		{"half a length", []byte{0, 0}, io.ErrUnexpectedEOF},
		{"cut short", []byte{0, 0, 0, 2, numRequestKeys}, io.ErrUnexpectedEOF},
		{"only a length", []byte{0, 0, 0, 2}, io.ErrUnexpectedEOF},
		{"empty", []byte{0, 0, 0, 0}, errFrame},
		{"too long", binary.BigEndian.AppendUint32(nil, MaxFrame+1), errFrame},
		{"far too long", []byte{0xff, 0xff, 0xff, 0xff, 1}, errFrame},
	} {
		b, err := readFrame(bytes.NewReader(tt.in))
		if !errors.Is(err, tt.want) || (err == nil) != (b != nil) {
			t.Errorf("%s: got %v, %v, want error %v", tt.name, b, err, tt.want)
		}
	}
	longest := make([]byte, MaxFrame)
	var buf bytes.Buffer
	if err := writeFrame(&buf, longest); err != nil {
		t.Fatal(err)
	}
	if b, err := readFrame(&buf); err != nil || len(b) != MaxFrame {
		t.Errorf("the longest message: got %d bytes, %v", len(b), err)
	}
	if err := writeFrame(&buf, make([]byte, MaxFrame+1)); err == nil || buf.Len() > 0 {
		t.Errorf("a message that is too long was written: %v, %d bytes", err, buf.Len())
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 11})
	f.Add([]byte{0, 4, 0, 1, 11})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := readFrame(bytes.NewReader(in))
		if err == nil && (len(b) == 0 || len(b) > MaxFrame || !bytes.Equal(b, in[4:4+len(b)])) {
			t.Errorf("read %x of %x", b, in)
		}
	})
}

// What agents answer is parsed without harm, and what was parsed is within its
// limits.
func FuzzReplies(f *testing.F) {
	f.Add(appendKeys(nil, []Identity{{[]byte("blob"), "comment"}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		_, body := splitReply(in)
		if ids, err := parseKeys(body); err == nil && !bytes.Equal(appendKeys(nil, ids)[1:], body) {
			t.Errorf("%x was read as %v", body, ids)
		}
		parseSignature(body)
		if ds, err := parseDestinations(body); err == nil && !bytes.Equal(appendDestinations(nil, normal(ds)), appendDestinations(nil, ds)) {
			t.Errorf("%x was read as %v", body, ds)
		}
		parseBinding(body)
		parseLogin(body, testKeys.user.PublicKey())
	})
}

// normal is what is read of what is written.
func normal(ds []Destination) []Destination {
	again, err := parseDestinations(appendDestinations(nil, ds))
	if err != nil {
		return nil
	}
	return again
}
