package trace

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// What is written is read back, channel data only with its level.
func TestReadBack(t *testing.T) {
	for _, level := range []Level{LevelPacket, LevelData} {
		r, err := NewReader(bytes.NewReader(record(t, new(JSON), level, conversation1())))
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.ReadAll()
		if err != nil || r.Header.Level != level || r.Header.Program != "adit test" {
			t.Fatalf("%v, header %+v", err, r.Header)
		}
		s := &entries{began: r.Header.Began, conn: 1, data: level == LevelData}
		for i, e := range conversation1() {
			if want := s.entry(r.Header.Began.Add(time.Duration(i)*time.Second), e); !reflect.DeepEqual(got[i], want) {
				t.Errorf("got  %+v\nwant %+v", got[i], want)
			}
		}
		if data := got[6].Text(fieldData); (data == "aGVsbG8=") != (level == LevelData) {
			t.Errorf("level %s: data %q", level, data)
		}
	}
}

// A trace that is cut off anywhere is read up to there, and the error says that
// it was cut.
func TestCutTrace(t *testing.T) {
	whole := record(t, new(JSON), LevelPacket, conversation1())
	lines := bytes.Count(whole, []byte("\n"))
	for n := range len(whole) - 1 {
		r, err := NewReader(bytes.NewReader(whole[:n]))
		if err != nil {
			if e, ok := errors.AsType[*FileError](err); !ok || e.Line != 1 || n >= len(headerStart) && !e.Cut {
				t.Fatalf("cut after %d bytes: %v", n, err)
			}
			continue
		}
		all, err := r.ReadAll()
		e, ok := errors.AsType[*FileError](err)
		complete := bytes.Count(whole[:n], []byte("\n")) - 1
		if n > 0 && len(all) > complete+1 || len(all) < complete {
			t.Fatalf("cut after %d bytes: %d entries of %d whole lines", n, len(all), complete)
		}
		if !ok || !e.Cut || e.Line > lines {
			t.Fatalf("cut after %d bytes: got %v, want an error that says so", n, err)
		}
	}
}

func TestBadFiles(t *testing.T) {
	const header = `{"adit_trace":1,"program":"p","began":"2026-01-02T03:04:05Z","level":"packet"}` + "\n"
	for _, tt := range []struct{ file, want string }{
		{"", "line 1: the file is empty"},
		{"hello\n", "line 1: this is no trace of adit"},
		{"\x0a\x0d\x0d\x0aabcd", "line 1: this may be a pcapng file"},
		{string(record(t, new(Lines), LevelPacket, nil)), "line 1: this is a trace as text"},
		{`{"adit_trace":2}` + "\n", "line 1: the trace has version 2 of the schema, and this adit knows up to 1"},
		{`{"adit_trace":-1}` + "\n", "line 1: this is no trace of adit"},
		{`{"adit_trace":1,}` + "\n{}\n", "line 1: this is no trace of adit"},
		{strings.Repeat("x", maxLine+1), "line 1: "},
		{header + "{}\n{}\n", "line 2: no entry of a trace: it has no time or no event"},
		{header + `{"time":-1,"event":"e"}` + "\n{}\n", "line 2: no entry of a trace: time -1 is none"},
		{header + `{"time":1e300,"event":"e"}` + "\n{}\n", "line 2: no entry of a trace: time 1e+300 is none"},
		{header + `{"time":1,"event":"e","dir":"up"}` + "\n{}\n", `line 2: no entry of a trace: dir "up" is neither in nor out`},
		{header + `{"time":1,"event":"e","conn":"x"}` + "\n{}\n", "line 2: no entry of a trace: conn can't be a string"},
		{header + "7\n{}\n", "line 2: no entry of a trace: an entry can't be a number"},
		{header + `{"time":1,"event":"e","fields":[1]}` + "\n{}\n", "line 2: no entry of a trace: fields are no object"},
		{header + `{"time":1,"event":"e"}` + "\n" + strings.Repeat("x", maxLine+1) + "\n", "line 3: "},
		{header + `{"time":1,"event":"e"}` + "\n", "line 2: the trace stops here, without its last line"},
	} {
		r, err := NewReader(strings.NewReader(tt.file))
		if err == nil {
			_, err = r.ReadAll()
		}
		if _, ok := errors.AsType[*FileError](err); !ok || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%.60q: got %v, want %q", tt.file, err, tt.want)
		}
	}
}

// The longest text that a peer can send is read back, whatever it takes to escape it.
func TestLongText(t *testing.T) {
	for _, c := range []string{"x", "<", "\x01", "\xff"} {
		const size = 256 << 10
		file := record(t, new(JSON), LevelPacket, []Event{Packet{Num: 4, Msg: &wire.Debug{Message: strings.Repeat(c, size)}}, ConnEnd{}})
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if all, err := r.ReadAll(); err != nil || len(all) != 2 || len([]rune(all[0].Text("message"))) != size {
			t.Errorf("%q: %d entries, %v", c, len(all), err)
		}
	}
}

// FuzzReader: whatever the file, the reader ends, and its lines are printable.
func FuzzReader(f *testing.F) {
	f.Add(record(f, new(JSON), LevelData, conversation1()))
	f.Add([]byte(`{"adit_trace":1}` + "\n" + `{"time":1,"event":"\u001b[2J","dir":"in","message":"\u009b","channel":-7,"fields":{"\u001b":{"a":[1,null]},"data_base64":"GzJK","took_us":-1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		all, _ := r.ReadAll()
		for i := range all {
			for _, c := range []byte(all[i].Line()) {
				if c < ' ' || c > '~' {
					t.Fatalf("byte %#x in %q", c, all[i].Line())
				}
			}
		}
		var out bytes.Buffer
		if err := WriteEntries(&out, r.Header, all, true); err != nil {
			t.Fatal(err)
		}
		again, err := NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := again.ReadAll(); err != nil || len(back) != len(all) {
			t.Fatalf("written again: %d entries of %d, %v", len(back), len(all), err)
		}
	})
}
