package zstream

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// oracle is what compress/flate makes of a stream.
func oracle(stream []byte) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(stream)), limit+1))
	return out, err
}

// FuzzInflate: whatever comes, cut anywhere, it ends as compress/flate does.
func FuzzInflate(f *testing.F) {
	for _, packets := range recorded(f) {
		var stream []byte
		for _, p := range packets[:8] {
			stream = append(stream, p.piece...)
		}
		f.Add(stream, uint16(7))
	}
	f.Add([]byte{0x78, 0x9c, 3, 0}, uint16(0))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		var whole Inflater
		got, err := whole.Inflate(stream, limit)
		got = bytes.Clone(got)
		var z Inflater
		var parts []byte
		var perr error
		for rest := stream; len(rest) > 0 && perr == nil; {
			n := min(1+int(cut%97), len(rest))
			var out []byte
			out, perr = z.Inflate(rest[:n], limit-len(parts))
			parts, rest = append(parts, out...), rest[n:]
		}
		if !bytes.Equal(got, parts) || (err == nil) != (perr == nil) || err != nil && err.Error() != perr.Error() {
			t.Fatalf("whole: %d bytes, %v; in parts: %d bytes, %v", len(got), err, len(parts), perr)
		}
		if len(stream) < 2 || errors.Is(err, ErrTooLong) {
			return
		}
		if err != nil && (strings.Contains(err.Error(), "header") || strings.Contains(err.Error(), "dictionary")) {
			return
		}
		want, werr := oracle(stream[2:])
		switch {
		case errors.Is(err, ErrEnd):
			if werr != nil || !bytes.Equal(got, want) {
				t.Fatalf("the stream's end: %d bytes; flate has %d, %v", len(got), len(want), werr)
			}
		case err == nil:
			// flate keeps what it has not said yet when the input ends.
			if werr != io.ErrUnexpectedEOF || !bytes.HasPrefix(got, want) {
				t.Fatalf("%d bytes, and more to come; flate has %d, %v", len(got), len(want), werr)
			}
		case strings.Contains(err.Error(), "without an end"): // flate finds out later
		default:
			if werr == nil || !bytes.HasPrefix(got, want) {
				t.Fatalf("%d bytes, then %v; flate has %d, %v", len(got), err, len(want), werr)
			}
		}
	})
}

// FuzzRoundTrip: what flate, or a Deflater, makes of any packets, flushed or not,
// is what they were.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello hello hello"), byte(6), uint64(1))
	f.Add(bytes.Repeat([]byte("abc"), 30000), byte(0), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, level byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		var out bytes.Buffer
		out.Write([]byte{0x78, 0x9c})
		w, err := flate.NewWriter(&out, int(level%11)-1)
		if err != nil {
			t.Fatal(err)
		}
		d, own, other := NewDeflater(), new(Inflater), new(Inflater)
		var sent, got []byte
		for len(data) > 0 {
			n := min(1+r.IntN(5000), len(data))
			p := data[:n]
			data = data[n:]
			if got, err := own.Inflate(d.Append(nil, p), n); err != nil || !bytes.Equal(got, p) {
				t.Fatalf("a Deflater's packet: %d bytes, %v, want %d", len(got), err, n)
			}
			w.Write(p)
			sent = append(sent, p...)
			flushed := r.IntN(3) > 0
			if flushed {
				w.Flush()
			}
			piece, err := other.Inflate(out.Bytes(), limit)
			if errors.Is(err, ErrTooLong) {
				return
			}
			if err != nil {
				t.Fatalf("a flate.Writer's packet: %v", err)
			}
			got = append(got, piece...)
			out.Reset()
			if flushed && !bytes.Equal(got, sent) || !bytes.HasPrefix(sent, got) {
				t.Fatalf("%d bytes after a flush (%t) of %d", len(got), flushed, len(sent))
			}
			if r.IntN(2) > 0 {
				own.Forget()
				other.Forget()
			}
		}
	})
}
