package trace

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// buffer is a WriteCloser in memory.
type buffer struct {
	bytes.Buffer
	closed bool
}

func (b *buffer) Close() error { b.closed = true; return nil }

// conversation1 are the events of a -L connection, a second apart.
func conversation1() []Event {
	open := &wire.ChannelOpen{Type: wire.ChannelDirectTCPIP, SenderChannel: 3, InitialWindow: 2097152, MaxPacket: 32768,
		Data: (&wire.DirectTCPIP{Host: "db.private", Port: 5432, OriginatorAddr: "127.0.0.1", OriginatorPort: 53988}).Append(nil)}
	return []Event{
		ConnStart{Role: "client", Target: "me@bastion:22"},
		DialStage{Stage: "look up", Address: "bastion", Found: []string{"192.0.2.1"}, Took: 1500 * time.Microsecond},
		ConnUp{Local: "192.0.2.9:4000", Remote: "192.0.2.1:22", Took: 2 * time.Millisecond},
		Version{Local: "SSH-2.0-a", Peer: "SSH-2.0-b"},
		Packet{Out: true, Seq: 3, Size: 90, Num: 90, Msg: open},
		Packet{Seq: 5, Size: 17, Num: 91, Msg: &wire.ChannelOpenConfirmation{RecipientChannel: 3, SenderChannel: 70, InitialWindow: 100, MaxPacket: 50}},
		Packet{Out: true, Seq: 4, Size: 14, Num: 94, Msg: &wire.ChannelData{RecipientChannel: 70, Data: []byte("hello")}},
		Packet{Seq: 6, Size: 12, Num: 94, Msg: &wire.ChannelData{RecipientChannel: 3, Data: []byte("you")}},
		Packet{Out: true, Seq: 5, Size: 5, Num: 97, Msg: &wire.ChannelClose{RecipientChannel: 70}},
		Packet{Seq: 7, Size: 5, Num: 97, Msg: &wire.ChannelClose{RecipientChannel: 3}},
		Packet{Seq: 8, Size: 2, Num: 96, Err: errors.New("too short")},
		ConnEnd{Took: time.Second, Err: "by\x1b[2J"},
	}
}

// record writes events as one connection, a second apart.
func record(t testing.TB, f Format, level Level, events []Event) []byte {
	t.Helper()
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := f.Begin(nil, Header{Version: SchemaVersion, Program: "adit test", Began: began, Level: level})
	for i, e := range events {
		b = f.Event(b, 1, began.Add(time.Duration(i)*time.Second), e)
	}
	return f.End(b, 0)
}

// The schema of TRACE.md. A change here is a change of what others read: see
// SchemaVersion.
func TestSchema(t *testing.T) {
	got := string(record(t, new(JSON), LevelPacket, conversation1()))
	want := `{"adit_trace":1,"program":"adit test","began":"2026-01-02T03:04:05Z","level":"packet"}
{"time":0.000000,"conn":1,"event":"connection:start","fields":{"role":"client","target":"me@bastion:22"}}
{"time":1.000000,"conn":1,"event":"dial:stage","fields":{"stage":"look up","address":"bastion","found":["192.0.2.1"],"took_us":1500}}
{"time":2.000000,"conn":1,"event":"connection:up","fields":{"local":"192.0.2.9:4000","remote":"192.0.2.1:22","took_us":2000}}
{"time":3.000000,"conn":1,"event":"transport:version","fields":{"local":"SSH-2.0-a","peer":"SSH-2.0-b"}}
{"time":4.000000,"conn":1,"event":"transport:packet","dir":"out","seq":3,"size":90,"number":90,"message":"CHANNEL_OPEN","channel":3,"fields":{"channel_type":"direct-tcpip","sender_channel":3,"initial_window_size":2097152,"maximum_packet_size":32768,"host_to_connect":"db.private","port_to_connect":5432,"originator_ip_address":"127.0.0.1","originator_port":53988}}
{"time":5.000000,"conn":1,"event":"transport:packet","dir":"in","seq":5,"size":17,"number":91,"message":"CHANNEL_OPEN_CONFIRMATION","channel":3,"fields":{"recipient_channel":3,"sender_channel":70,"initial_window_size":100,"maximum_packet_size":50}}
{"time":6.000000,"conn":1,"event":"transport:packet","dir":"out","seq":4,"size":14,"number":94,"message":"CHANNEL_DATA","channel":3,"fields":{"recipient_channel":70,"data_length":5}}
{"time":7.000000,"conn":1,"event":"transport:packet","dir":"in","seq":6,"size":12,"number":94,"message":"CHANNEL_DATA","channel":3,"fields":{"recipient_channel":3,"data_length":3}}
{"time":8.000000,"conn":1,"event":"transport:packet","dir":"out","seq":5,"size":5,"number":97,"message":"CHANNEL_CLOSE","channel":3,"fields":{"recipient_channel":70}}
{"time":9.000000,"conn":1,"event":"transport:packet","dir":"in","seq":7,"size":5,"number":97,"message":"CHANNEL_CLOSE","channel":3,"fields":{"recipient_channel":3}}
{"time":10.000000,"conn":1,"event":"transport:packet","dir":"in","seq":8,"size":2,"number":96,"message":"CHANNEL_EOF","fields":{"error":"too short"}}
{"time":11.000000,"conn":1,"event":"connection:end","fields":{"took_us":1000000,"error":"by\u001b[2J"}}
`
	lines, _, _ := strings.Cut(got, `{"time":`+got[strings.LastIndex(got, `{"time":`)+8:])
	if lines != want {
		t.Errorf("got\n%swant\n%s", lines, want)
	}
	if !strings.HasSuffix(got, `"event":"trace:end","fields":{"lost":0}}`+"\n") {
		t.Errorf("the last line is not the trace's end: %s", got[len(got)-100:])
	}
}

func TestTextFile(t *testing.T) {
	got := string(record(t, new(Lines), LevelPacket, conversation1()))
	for _, want := range []string{
		"   4.000000 #1 ->  90 CHANNEL_OPEN seq=3 size=90 [channel 3] channel type=direct-tcpip sender channel=3 initial window size=2097152 " +
			"maximum packet size=32768 host to connect=db.private port to connect=5432 originator IP address=127.0.0.1 originator port=53988\n",
		"   6.000000 #1 ->  94 CHANNEL_DATA seq=4 size=14 [channel 3] recipient channel=70 data length=5\n",
		`   1.000000 #1    dial:stage stage="look up" address=bastion found=192.0.2.1 took=1.500ms` + "\n",
		`error="by\x1b[2J"`,
		"\n# end\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestFileNumbersConnections(t *testing.T) {
	var w buffer
	f := NewFile(&w, LevelPacket, "p", new(JSON))
	first, second := Branch(f), Branch(f)
	second.Trace(time.Now(), ConnStart{Role: "client"})
	first.Trace(time.Now(), ConnStart{Role: "client"})
	f.Trace(time.Now(), Forward{What: "listen"})
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	first.Trace(time.Now(), ConnEnd{}) // comes too late
	r, err := NewReader(&w.Buffer)
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.ReadAll()
	if err != nil || len(all) != 3 || all[0].Conn != 2 || all[1].Conn != 1 || all[2].Conn != 0 {
		t.Errorf("got %+v, %v", all, err)
	}
	if !w.closed {
		t.Error("the file was not closed")
	}
}

// slow is a disk that writes when it is told to.
type slow struct {
	buffer
	may   chan struct{}
	first chan struct{} // closed at the first write
	once  sync.Once
}

func (s *slow) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.first) })
	<-s.may
	return s.buffer.Write(p)
}

// goOn lets the disk write all, closes the trace, and reads it.
func (s *slow) goOn(t *testing.T, f *File) (*Reader, []Entry, error) {
	t.Helper()
	close(s.may)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&s.Buffer)
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.ReadAll()
	return r, all, err
}

// A disk that hangs does not hold up who traces, costs bounded memory, and the
// trace says what it lacks, and where.
func TestSlowDisk(t *testing.T) {
	w := &slow{may: make(chan struct{}), first: make(chan struct{})}
	const limit = 50
	f := newFile(w, LevelPacket, "p", new(JSON), limit)
	<-w.first
	one := Branch(f)
	for range limit + 7 {
		one.Trace(time.Now(), ChannelClosed{Type: "x"})
	}
	r, all, err := w.goOn(t, f)
	if err != nil || len(all) != limit || r.Lost() != 7 {
		t.Errorf("%d entries, %d lost, %v; want %d and 7", len(all), r.Lost(), err, limit)
	}
}

// What waits for the disk is bounded by what it holds, too: a peer may send long
// messages that are no data.
func TestSlowDiskAndLongMessages(t *testing.T) {
	w := &slow{may: make(chan struct{}), first: make(chan struct{})}
	f := NewFile(w, LevelPacket, "p", new(JSON))
	<-w.first
	one := Branch(f)
	const long = maxQueuedBytes / 4
	data := Packet{Num: 94, Size: long, Msg: &wire.ChannelData{Data: Withheld(10)}}
	for range 10 {
		one.Trace(time.Now(), data) // of which nothing is kept
		one.Trace(time.Now(), Packet{Num: 4, Size: long, Msg: &wire.Debug{}})
	}
	r, all, err := w.goOn(t, f)
	found := map[string]int{}
	for _, e := range all {
		found[e.Message]++
	}
	if err != nil || found["DEBUG"] != 4 || found["CHANNEL_DATA"] != 10 || r.Lost() != 6 {
		t.Errorf("%v, %d lost, %v; want 4 long messages, 10 of data, and 6 lost", found, r.Lost(), err)
	}
	for _, tt := range []struct {
		level Level
		e     Event
		want  int
	}{
		{LevelData, data, long},
		{LevelData, Packet{Num: 94, Size: long, Withheld: true, Msg: data.Msg}, 0},
		{LevelPacket, Message{Size: 900, Fields: []Field{{"a", "12345"}, {"b", int64(7)}, {"c", []string{"123", "4"}}}}, 9},
		{LevelPacket, ConnEnd{}, 0},
	} {
		if got := (&File{header: Header{Level: tt.level}}).holds(tt.e); got != tt.want {
			t.Errorf("level %s: %+v holds %d bytes, want %d", tt.level, tt.e, got, tt.want)
		}
	}
}

// An agent's data, which may be keys, is not there at any level.
func TestWithheld(t *testing.T) {
	for _, m := range []wire.Msg{&wire.ChannelData{Data: []byte("key")}, &wire.ChannelExtendedData{Data: []byte("key")}} {
		for _, withheld := range []bool{false, true} {
			e := Packet{Num: m.Num(), Msg: m, Withheld: withheld}
			got := string(record(t, new(JSON), LevelData, []Event{e}))
			if has := strings.Contains(got, fieldData); has == withheld || !strings.Contains(got, `"data_length":3`) {
				t.Errorf("withheld %t: %s", withheld, got)
			}
		}
	}
}

func TestWriteError(t *testing.T) {
	pr, pw := io.Pipe()
	pr.CloseWithError(errors.New("no space left on device"))
	f := NewFile(pw, LevelPacket, "p", new(JSON))
	f.Trace(time.Now(), ConnStart{})
	if err := f.Close(); err == nil || err.Error() != "write the trace: no space left on device" {
		t.Errorf("got %v", err)
	}
}

// The file is for its owner alone, also when there was another one.
func TestFileMode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t.jsonl")
	if err := os.WriteFile(name, bytes.Repeat([]byte("old"), 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := CreateFile(name, LevelConn, "p", new(JSON))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", info.Mode().Perm())
	}
	if b, _ := os.ReadFile(name); bytes.Contains(b, []byte("old")) {
		t.Error("the old content is still there")
	}
}

// Who asked for less than LevelData gets no channel data, though another one
// gets it.
func TestTee(t *testing.T) {
	a, b := NewRecorder(LevelPacket, 10), NewRecorder(LevelData, 10)
	c := NewRecorder(LevelConn, 10)
	tee := Branch(Tee(nil, a, b, c))
	if tee.Level() != LevelData {
		t.Errorf("level %s", tee.Level())
	}
	for _, m := range []wire.Msg{&wire.ChannelData{Data: []byte("secret")}, &wire.ChannelExtendedData{Data: []byte("secret")}} {
		Emit(tee, Packet{Num: m.Num(), Msg: m})
	}
	if got := string(a.Records()[0].Event.(Packet).Msg.(*wire.ChannelData).Data); got != "\x00\x00\x00\x00\x00\x00" {
		t.Errorf("below data: %q", got)
	}
	if got := string(a.Records()[1].Event.(Packet).Msg.(*wire.ChannelExtendedData).Data); got != "\x00\x00\x00\x00\x00\x00" {
		t.Errorf("below data: %q", got)
	}
	if got := string(b.Records()[0].Event.(Packet).Msg.(*wire.ChannelData).Data); got != "secret" {
		t.Errorf("with data: %q", got)
	}
	Emit(tee, Message{Protocol: ProtocolSSM, Type: "input_stream_data", Size: 6, Fields: []Field{{"data_length", int64(6)}, DataField([]byte("secret"))}})
	for r, want := range map[*Recorder]string{a: "data length=6", b: `data length=6 data="secret"`} {
		if got := FieldsText(r.Records()[2].Event.(Message).Fields); got != want {
			t.Errorf("level %s: a message says %s, want %s", r.Level(), got, want)
		}
	}
	if c.Total() != 0 {
		t.Error("LevelConn got messages")
	}
	if Tee(nil, nil) != nil {
		t.Error("a Tee of nobody is somebody")
	}
}

// The cost of a hook where nobody traces.
func BenchmarkNobody(b *testing.B) {
	var t Tracer
	b.ReportAllocs()
	for b.Loop() {
		if Wants(t, LevelPacket) {
			t.Trace(time.Now(), Packet{})
		}
	}
}

// The cost of an event to who emits it: the rest is the File's goroutine's.
func BenchmarkFile(b *testing.B) {
	f := NewFile(discard{}, LevelPacket, "p", new(JSON))
	t := Branch(f)
	e := Packet{Out: true, Num: 94, Size: 32768, Msg: &wire.ChannelData{Data: Withheld(32 << 10)}}
	b.ReportAllocs()
	for b.Loop() {
		t.Trace(time.Now(), e)
	}
	f.Close()
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func (discard) Close() error { return nil }
