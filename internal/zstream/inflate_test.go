package zstream

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// limit is what a packet may expand to in these tests.
const limit = 256 << 10

// packet is a packet and its piece of a stream.
type packet struct{ raw, piece []byte }

// recorded are streams of zlib itself (testdata/record.py), by name.
func recorded(t testing.TB) map[string][]packet {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d recorded streams, %v, want 9", len(files), err)
	}
	all := map[string][]packet{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(b))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			raw, piece, _ := strings.Cut(lines.Text(), " ")
			var p packet
			if p.raw, err = hex.DecodeString(raw); err == nil {
				p.piece, err = hex.DecodeString(piece)
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all[filepath.Base(name)] = append(all[filepath.Base(name)], p)
		}
	}
	return all
}

// Each packet of zlib is whole as soon as its piece is there, whatever the flush.
func TestRecorded(t *testing.T) {
	for name, packets := range recorded(t) {
		t.Run(name, func(t *testing.T) {
			var z Inflater
			var in, out uint64
			for i, p := range packets {
				got, err := z.Inflate(p.piece, limit)
				if err != nil || !bytes.Equal(got, p.raw) {
					t.Fatalf("packet %d: %d bytes, %v, want %d:\n%q\n%q", i, len(got), err, len(p.raw), got, p.raw)
				}
				z.Forget()
				in, out = in+uint64(len(p.piece)), out+uint64(len(p.raw))
			}
			if compressed, raw := z.Totals(); compressed != in || raw != out {
				t.Errorf("the totals are %d and %d, want %d and %d", compressed, raw, in, out)
			}
		})
	}
}

// A piece may be cut anywhere: what comes of it is the same.
func TestCutAnywhere(t *testing.T) {
	for name, packets := range recorded(t) {
		var stream, want []byte
		for _, p := range packets {
			stream, want = append(stream, p.piece...), append(want, p.raw...)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for _, most := range []int{1, 2, 3, 9, 100, 5000} {
			var z Inflater
			var got []byte
			for rest := stream; len(rest) > 0; {
				n := min(1+r.IntN(most), len(rest))
				out, err := z.Inflate(rest[:n], limit)
				if err != nil {
					t.Fatalf("%s in pieces of up to %d: %v", name, most, err)
				}
				got, rest = append(got, out...), rest[n:]
				if r.IntN(3) == 0 {
					z.Forget()
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s in pieces of up to %d: %d bytes, want %d, or others", name, most, len(got), len(want))
			}
		}
	}
}

// What was returned stays as it is until Forget, and the memory for it is bounded
// afterwards.
func TestLent(t *testing.T) {
	var z Inflater
	d := NewDeflater()
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 8 {
		var got, want [][]byte
		total := 0
		for total < limit {
			p := text(r, 1+r.IntN(40000))
			out, err := z.Inflate(d.Append(nil, p), limit)
			if err != nil {
				t.Fatal(err)
			}
			got, want, total = append(got, out), append(want, p), total+len(p)
		}
		if z.Lent() != total {
			t.Errorf("%d bytes are lent, want %d", z.Lent(), total)
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("round %d: packet %d is another than it was", round, i)
			}
		}
		if z.Forget(); z.Lent() != 0 {
			t.Errorf("%d bytes are lent after Forget", z.Lent())
		}
		if len(z.buf) > 2*(window+limit+2*maxMatch) {
			t.Fatalf("the buffer has grown to %d bytes", len(z.buf))
		}
	}
}

// text returns n bytes that compress as text does.
func text(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%d %x %s\n", r.IntN(50), r.IntN(4000), strings.Repeat("la", r.IntN(9)))
	}
	return b.Bytes()[:n]
}

// Faults, each with what an error says of it. What is right before it comes out.
func TestFaults(t *testing.T) {
	raw := func(d ...byte) []byte { return append([]byte{0x78, 0x9c}, d...) }
	hello := raw(0x00, 5, 0, 0xfa, 0xff, 'h', 'e', 'l', 'l', 'o')
	for _, tt := range []struct {
		name  string
		piece []byte
		out   string
		want  string
	}{
		{"not zlib", []byte("SSH-"), "", "no zlib header"},
		{"a window of 64 KiB", []byte{0x88, 0x1c}, "", "no zlib header"},
		{"gzip", []byte{0x1f, 0x8b, 8, 0}, "", "no zlib header"},
		{"a dictionary", []byte{0x78, 0xbb}, "", "dictionary"},
		{"reserved type", raw(6), "", "reserved"},
		{"stored lengths differ", raw(0, 5, 0, 0, 0), "", "lengths differ"},
		{"the last block", append(raw(0x01, 1, 0, 0xfe, 0xff, 'x'), 0), "x", "has ended"},
		{"a match at the beginning", raw(fixed(t, 257, 0)...), "", "beginning"},
		{"a match before the beginning", slices.Concat(hello, fixed(t, 257, 29)), "hello", "beginning"},
		{"literal 286", slices.Concat(hello, fixed(t, 286, 0)), "hello", "no such literal"},
		{"distance 30", slices.Concat(hello, fixed(t, 257, 30)), "hello", "no such distance"},
		{"too many codes", raw(0b11111100, 0, 0), "", "too many codes"},
		{"codes of lengths incomplete", raw(4, 0, 0xfe, 0xff, 0xff), "", "no code"},
		{"no codes of lengths", raw(4, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "", "no such length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var z Inflater
			out, err := z.Inflate(tt.piece, limit)
			if err == nil || !strings.Contains(err.Error(), tt.want) || string(out) != tt.out {
				t.Fatalf("got %q, %v, want %q, …%s…", out, err, tt.out, tt.want)
			}
			if again, err2 := z.Inflate(hello, limit); len(again) > 0 || err2 != err {
				t.Errorf("after the fault: %q, %v, want the same fault", again, err2)
			}
		})
	}
}

// fixed is a block with fixed codes: a length or literal symbol, then a distance
// symbol, and bits to spare.
func fixed(t *testing.T, symbol, distance int) []byte {
	t.Helper()
	var bits uint64
	n := 0
	put := func(v uint64, count int) { bits |= v << n; n += count }
	code := func(v uint16, count int) { put(uint64(reversed(int(v), byte(count))), count) }
	put(0b010, 3)
	switch {
	case symbol < 280:
		code(uint16(symbol-256), 7)
	default:
		code(uint16(0b11000000+symbol-280), 8)
	}
	code(uint16(distance), 5)
	n += 13 // the distance's extra bits, 0
	var b []byte
	for ; n > 0; n -= 8 {
		b = append(b, byte(bits))
		bits >>= 8
	}
	return b
}

// A packet that would be longer than a packet may be is cut there, and is the end.
func TestLimit(t *testing.T) {
	for _, size := range []int{1, 257, 258, 259, 5000, limit} {
		for _, data := range [][]byte{make([]byte, size), text(rand.New(rand.NewPCG(5, 6)), size)} {
			piece := NewDeflater().Append(nil, data)
			var exact Inflater
			if got, err := exact.Inflate(piece, size); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes where as many are allowed: %d, %v", size, len(got), err)
			}
			var z Inflater
			if got, err := z.Inflate(piece, size-1); !errors.Is(err, ErrTooLong) || !bytes.Equal(got, data[:size-1]) {
				t.Errorf("%d bytes where one less is allowed: %d, %v, want ErrTooLong", size, len(got), err)
			}
		}
	}
	var stored Inflater
	if _, err := stored.Inflate([]byte{0x78, 0x9c, 0, 5, 0, 0xfa, 0xff, 1, 2, 3, 4, 5}, 4); !errors.Is(err, ErrTooLong) {
		t.Errorf("a stored block beyond the limit: %v, want ErrTooLong", err)
	}
	var z Inflater
	if _, err := z.Inflate(NewDeflater().Append(nil, make([]byte, 8<<20)), limit); !errors.Is(err, ErrTooLong) || len(z.buf) > 4*limit {
		t.Errorf("8 MiB of zeros: %v, and a buffer of %d bytes, want ErrTooLong", err, len(z.buf))
	}
}

// Each truncation and each flipped bit ends, with bounded output, and what comes
// before the change is as it was.
func TestDamage(t *testing.T) {
	for name, packets := range recorded(t) {
		var stream, want []byte
		for _, p := range packets[:2] {
			stream, want = append(stream, p.piece...), append(want, p.raw...)
		}
		var z Inflater // one for all, as in a connection
		again := func() {
			z.Forget()
			z.Reset()
		}
		for cut := range len(stream) {
			got, err := z.Inflate(stream[:cut], limit)
			if err != nil || !bytes.HasPrefix(want, got) {
				t.Fatalf("%s cut at %d: %d bytes, %v, want a beginning of the data, and a wait", name, cut, len(got), err)
			}
			again()
		}
		faults := 0
		for bit := range 8 * len(stream) {
			damaged := bytes.Clone(stream)
			damaged[bit/8] ^= 1 << (bit % 8)
			before, _ := z.Inflate(damaged[:bit/8], limit)
			if !bytes.HasPrefix(want, before) {
				t.Fatalf("%s, bit %d: what comes before is other data", name, bit)
			}
			got, err := z.Inflate(damaged[bit/8:], limit)
			again()
			if len(got) > limit {
				t.Fatalf("%s, bit %d: %d bytes", name, bit, len(got))
			}
			if err != nil {
				faults++
			}
		}
		if faults == 0 {
			t.Errorf("%s: no flipped bit was a fault", name)
		}
	}
}

// A packet costs no memory.
func TestAllocs(t *testing.T) {
	var z Inflater
	d := NewDeflater()
	r := rand.New(rand.NewPCG(7, 8))
	var pieces [][]byte
	for range 400 {
		pieces = append(pieces, d.Append(nil, text(r, 1+r.IntN(9000))))
	}
	z.Inflate(pieces[0], limit)
	i := 1
	if n := testing.AllocsPerRun(len(pieces)-2, func() {
		if _, err := z.Inflate(pieces[i], limit); err != nil {
			t.Fatal(err)
		}
		z.Forget()
		i++
	}); n != 0 {
		t.Errorf("%v allocations for each packet expanded, want 0", n)
	}
	p, room := text(r, 3000), make([]byte, 0, 8000)
	d.Append(room, p)
	if n := testing.AllocsPerRun(100, func() { d.Append(room, p) }); n != 0 {
		t.Errorf("%v allocations for each packet compressed, want 0", n)
	}
}

// A stream that begins anew knows nothing of the one before.
func TestReset(t *testing.T) {
	d, z := NewDeflater(), new(Inflater)
	p := text(rand.New(rand.NewPCG(9, 10)), 5000)
	first := d.Append(nil, p)
	for range 3 {
		piece := d.Append(nil, p)
		if len(piece) >= len(first)/4 {
			t.Errorf("the same once more takes %d bytes after %d: the stream is not one", len(piece), len(first))
		}
		d.Reset()
		if piece = d.Append(nil, p); !bytes.Equal(piece, first) {
			t.Error("after Reset the stream's beginning is another")
		}
		z.Reset()
		if got, err := z.Inflate(piece, limit); err != nil || !bytes.Equal(got, p) {
			t.Errorf("after Reset: %d bytes, %v", len(got), err)
		}
	}
	if raw, compressed := d.Totals(); raw != 7*5000 || compressed == 0 {
		t.Errorf("the totals are %d and %d, want those of all streams", raw, compressed)
	}
}

func BenchmarkInflate(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	random := make([]byte, 32<<10)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	for _, c := range []struct {
		name string
		data []byte
	}{{"text", text(r, 32<<10)}, {"random", random}, {"small", text(r, 64)}} {
		b.Run(c.name, func(b *testing.B) {
			d := NewDeflater()
			var pieces [][]byte
			for range 64 {
				pieces = append(pieces, d.Append(nil, c.data))
			}
			var z Inflater
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%64 == 0 {
					z.step, z.err = nil, nil
				}
				if _, err := z.Inflate(pieces[i%64], limit); err != nil {
					b.Fatal(err)
				}
				z.Forget()
			}
		})
	}
}

func BenchmarkDeflate(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	long := text(r, 1<<20)
	for _, size := range []int{64, 32 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d := NewDeflater()
			room := make([]byte, 0, 64<<10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at := i * size % (len(long) - size)
				d.Append(room, long[at:at+size])
			}
			raw, compressed := d.Totals()
			b.ReportMetric(float64(compressed)/float64(raw), "of1")
		})
	}
}
