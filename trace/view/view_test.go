package view

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

var update = flag.Bool("update", false, "write the goldens anew")

// story is a connection with a -L and a -D, made of events a millisecond apart.
type story struct {
	records []trace.Record
	at      time.Time
	seq     [2]uint32
}

func newStory() *story { return &story{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (s *story) event(e trace.Event) {
	s.records = append(s.records, trace.Record{Time: s.at, Event: e})
	s.at = s.at.Add(time.Millisecond)
}

func (s *story) message(out bool, m wire.Msg) {
	side := 0
	if !out {
		side = 1
	}
	s.event(trace.Packet{Out: out, Seq: s.seq[side], Size: len(m.Append(nil)), Num: m.Num(), Msg: wire.Redact(m)})
	s.seq[side]++
}

func (s *story) open(host string, port, channel uint32) {
	s.message(true, &wire.ChannelOpen{Type: wire.ChannelDirectTCPIP, SenderChannel: channel, InitialWindow: 2097152, MaxPacket: 32768,
		Data: (&wire.DirectTCPIP{Host: host, Port: port, OriginatorAddr: "127.0.0.1", OriginatorPort: 53988}).Append(nil)})
}

func (s *story) begin(host string) {
	s.event(trace.ConnStart{Role: "client", Target: "me@" + host})
	s.event(trace.DialStage{Stage: "look up", Address: host, Found: []string{"192.0.2.1"}, Took: time.Millisecond})
	s.event(trace.ConnUp{Local: "192.0.2.9:4000", Remote: "192.0.2.1:22", Took: 2 * time.Millisecond})
	s.event(trace.Version{Local: "SSH-2.0-adit_0.1", Peer: "SSH-2.0-OpenSSH_9.2p1"})
	s.message(true, &wire.NewKeys{})
	s.event(trace.KexDone{Kex: "curve25519-sha256", First: true, HostKeyFingerprint: "SHA256:x", Took: time.Millisecond})
	s.message(true, &wire.ServiceRequest{Service: "ssh-userauth"})
	s.message(false, &wire.ServiceAccept{Service: "ssh-userauth"})
	s.message(false, &wire.UserauthSuccess{})
}

// whole is the connection of the goldens.
func whole() []trace.Entry {
	s := newStory()
	s.begin("bastion:22")
	s.event(trace.Forward{What: "listen", Spec: "5432:db.private:5432", Local: "127.0.0.1:5432"})
	f := trace.Forward{What: "accept", Spec: "5432:db.private:5432", Local: "127.0.0.1:5432", Originator: "127.0.0.1:53988", Target: "db.private:5432"}
	s.event(f)
	s.open("db.private", 5432, 0)
	s.message(false, &wire.ChannelOpenConfirmation{RecipientChannel: 0, SenderChannel: 7, InitialWindow: 100, MaxPacket: 50})
	s.message(true, &wire.ChannelData{RecipientChannel: 7, Data: make([]byte, 100)})
	s.message(false, &wire.ChannelWindowAdjust{RecipientChannel: 0, Bytes: 1 << 20})
	for range 5 {
		s.message(false, &wire.ChannelData{RecipientChannel: 0, Data: make([]byte, 30000)})
	}
	s.message(false, &wire.ChannelEOF{RecipientChannel: 0})
	s.message(true, &wire.ChannelClose{RecipientChannel: 7})
	s.message(false, &wire.ChannelClose{RecipientChannel: 0})
	f.What, f.In, f.Out = "done", 150000, 100
	s.event(f)
	s.open("10.0.0.9", 1, 1)
	s.message(false, &wire.ChannelOpenFailure{RecipientChannel: 1, Reason: 2, Description: "Connection refused"})
	s.message(true, &wire.Disconnect{Reason: 11, Description: "disconnected by user"})
	s.event(trace.ConnEnd{Took: time.Second})
	return trace.Entries(s.records)
}

func header() trace.Header {
	return trace.Header{Version: 1, Program: "adit test", Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Level: trace.LevelPacket}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestTextLadder(t *testing.T) {
	for _, width := range []int{80, 120} {
		var out bytes.Buffer
		if err := NewLadder(header(), whole()).WriteText(&out, TextOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("ladder%d.txt", width), out.Bytes())
		for line := range strings.Lines(out.String()) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > width {
				t.Errorf("width %d: a line of %d cells: %s", width, n, line)
			}
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Error("colour where none was asked for")
		}
	}
	var out bytes.Buffer
	NewLadder(header(), whole()).WriteText(&out, TextOptions{Color: true, Explain: true})
	if !strings.Contains(out.String(), "\x1b[36m") || !strings.Contains(strings.Join(strings.Fields(out.String()), " "), "RFC 4254, 7.2") {
		t.Errorf("no colour or no explanation:\n%s", out.String())
	}
}

func TestStats(t *testing.T) {
	s := Count(whole())
	c := s.Conns[0]
	if c.Messages != [2]int{7, 12} || c.Rekeys != 0 || c.RTT != time.Millisecond || c.RTTOf != "SERVICE_REQUEST" {
		t.Errorf("got %+v", c)
	}
	ch, refused := c.Channels[0], c.Channels[1]
	if ch.Bytes != [2]int64{100, 150000} || ch.OpenTook != time.Millisecond || ch.FirstByte != 3*time.Millisecond || ch.Target != "db.private:5432" {
		t.Errorf("channel 0: %+v", ch)
	}
	// 100 bytes used up the window of 100 at once; a millisecond later it was
	// opened again.
	if ch.Stalls != [2]int{1, 0} || refused.Refused != "Connection refused" {
		t.Errorf("stalls %v, refused %q", ch.Stalls, refused.Refused)
	}
	var out bytes.Buffer
	if err := s.Write(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "stats.txt", out.Bytes())
}

// A sender that used up the window waits until it is opened.
func TestStalls(t *testing.T) {
	s := newStory()
	s.open("a", 1, 0)
	s.message(false, &wire.ChannelOpenConfirmation{RecipientChannel: 0, SenderChannel: 7, InitialWindow: 100, MaxPacket: 50})
	for range 2 {
		s.message(true, &wire.ChannelData{RecipientChannel: 7, Data: make([]byte, 50)})
		s.message(true, &wire.ChannelData{RecipientChannel: 7, Data: make([]byte, 50)})
		s.at = s.at.Add(9 * time.Millisecond)
		s.message(false, &wire.ChannelWindowAdjust{RecipientChannel: 0, Bytes: 100})
	}
	s.message(true, &wire.ChannelData{RecipientChannel: 7, Data: make([]byte, 99)})
	ch := Count(trace.Entries(s.records)).Conns[0].Channels[0]
	if ch.Stalls != [2]int{2, 0} || ch.Stalled != [2]time.Duration{20 * time.Millisecond, 0} {
		t.Errorf("waited %v times, %v; want 2 times, 20ms", ch.Stalls, ch.Stalled)
	}
	// And one that waits still, at the end.
	s.message(true, &wire.ChannelData{RecipientChannel: 7, Data: make([]byte, 1)})
	s.at = s.at.Add(4 * time.Millisecond)
	s.message(false, &wire.Ignore{})
	ch = Count(trace.Entries(s.records)).Conns[0].Channels[0]
	if ch.Stalls[0] != 3 || ch.Stalled[0] != 25*time.Millisecond {
		t.Errorf("waited %v times, %v; want 3 times, 25ms", ch.Stalls, ch.Stalled)
	}
}

// A channel's number that comes again is another channel.
func TestNumberAgain(t *testing.T) {
	s := newStory()
	for i := range 2 {
		s.open(fmt.Sprintf("host%d", i), 1, 0)
		s.message(false, &wire.ChannelOpenConfirmation{RecipientChannel: 0, SenderChannel: 7, InitialWindow: 100, MaxPacket: 50})
		s.message(true, &wire.ChannelData{RecipientChannel: 7, Data: make([]byte, 10+i)})
		s.message(true, &wire.ChannelClose{RecipientChannel: 7})
		s.message(false, &wire.ChannelData{RecipientChannel: 0, Data: make([]byte, 5)}) // was on its way
		s.message(false, &wire.ChannelClose{RecipientChannel: 0})
	}
	all := Count(trace.Entries(s.records)).Conns[0].Channels
	if len(all) != 2 || all[0].Bytes != [2]int64{10, 5} || all[1].Bytes != [2]int64{11, 5} || all[1].Target != "host1:1" {
		t.Errorf("got %+v %+v", all[0], all[1])
	}
}

// Every message and event has a meaning, and messages a section.
func TestEverythingIsExplained(t *testing.T) {
	for _, phase := range []wire.Phase{wire.PhaseAny, wire.PhaseKexShare, wire.PhaseKexGex, wire.PhasePublickey, wire.PhasePassword, wire.PhaseKbdint} {
		for num := range 256 {
			name := wire.Name(phase, byte(num))
			if strings.HasPrefix(name, "message ") {
				continue
			}
			if what, where := Explain(&trace.Entry{Dir: "in", Event: "transport:packet", Message: name}); what == "" || where == "" {
				t.Errorf("%s is not explained", name)
			}
		}
	}
	for _, e := range []trace.Event{trace.ConnStart{}, trace.DialStage{}, trace.ConnUp{}, trace.ConnEnd{}, trace.Version{}, trace.BannerLine{},
		trace.Negotiated{}, trace.KexDone{}, trace.Compressing{}, trace.Compressed{}, trace.AuthAttempt{}, trace.ChannelOpened{}, trace.ChannelRefused{}, trace.ChannelClosed{},
		trace.Forward{}, trace.Lost{}, trace.AgentDecision{}} {
		if what, _ := Explain(&trace.Entry{Event: e.Name()}); what == "" {
			t.Errorf("%s is not explained", e.Name())
		}
	}
}

// FuzzViews: whatever a file says, the views end, and print nothing that a
// terminal obeys.
func FuzzViews(f *testing.F) {
	var file bytes.Buffer
	if err := trace.WriteEntries(&file, header(), whole(), true); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(`{"adit_trace":1,"program":"\u001b[2J"}` + "\n" + `{"time":1,"conn":-1,"event":"e","dir":"in","message":"CHANNEL_OPEN","channel":-9,"fields":{"host_to_connect":"\u001b]0;x\u0007","port_to_connect":-1}}`))
	for _, e := range []string{`"event":"ssm:message","dir":"out","seq":1,"message":"input_stream_data","fields":{"payload_type":"output","again":true}`,
		`"event":"ssm:message","dir":"in","message":"acknowledge","fields":{"acknowledged_sequence_number":1}`,
		`"event":"agent:message","dir":"in","number":13,"message":"AGENTC_SIGN_REQUEST","fields":{"key":"\u001b"}`} {
		f.Add([]byte(`{"adit_trace":1}` + "\n" + `{"time":1,"conn":1,"event":"connection:start","fields":{"role":"ssm"}}` + "\n" + `{"time":1,"conn":1,` + e + "}"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := trace.NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		all, broken := r.ReadAll()
		var out bytes.Buffer
		l := NewLadder(r.Header, all)
		l.WriteText(&out, TextOptions{Width: 80, Explain: true})
		Count(all).Write(&out)
		for _, c := range out.String() {
			if c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 || c > '~' && !strings.ContainsRune("│─╌├┤▶◀●×", c) {
				t.Fatalf("character %U in\n%q", c, out.String())
			}
		}
		if err := l.WriteHTML(&out, broken); err != nil {
			t.Fatal(err)
		}
	})
}

// An open by the peer has the number that we gave the channel, once that is
// known: it belongs to the channel's colour and filter.
func TestPeersOpen(t *testing.T) {
	s := newStory()
	s.event(trace.ConnStart{Role: "server", Remote: "192.0.2.9:4000"})
	s.message(false, &wire.ChannelOpen{Type: wire.ChannelDirectTCPIP, SenderChannel: 70, InitialWindow: 100, MaxPacket: 50,
		Data: (&wire.DirectTCPIP{Host: "db", Port: 1}).Append(nil)})
	s.message(true, &wire.ChannelOpenConfirmation{RecipientChannel: 70, SenderChannel: 3, InitialWindow: 100, MaxPacket: 50})
	rows := NewLadder(header(), trace.Entries(s.records)).conns[0].rows
	for _, r := range rows[1:] {
		if r.Channel != 3 {
			t.Errorf("%s is of channel %d, want 3", r.Label, r.Channel)
		}
	}
	if r := rows[1]; r.from != colClient || r.to != colServer {
		t.Errorf("%s goes from %d to %d", r.Label, r.from, r.to)
	}
	if far := rows[2]; far.from != colServer || far.to != colTarget || !far.inferred {
		t.Errorf("got %+v, want the server's connection to the target", far)
	}
}

// Answers belong to the oldest question, but in a key exchange, where a wrong guess
// has none.
func TestRoundTrip(t *testing.T) {
	s := newStory()
	s.event(trace.ConnStart{Role: "client"})
	ask := &wire.GlobalRequest{Type: wire.GlobalTCPIPForward, WantReply: true, Data: (&wire.TCPIPForward{Addr: "a", Port: 1}).Append(nil)}
	s.message(true, ask)
	s.message(true, &wire.GlobalRequest{Type: "no-more-sessions@openssh.com"})
	s.message(true, ask)
	s.message(true, ask)
	s.message(false, &wire.RequestSuccess{})
	s.message(false, &wire.RequestFailure{})
	s.message(false, &wire.RequestSuccess{})
	s.message(false, &wire.RequestSuccess{}) // nobody's
	c := Count(trace.Entries(s.records)).Conns[0]
	if c.RTT != 3*time.Millisecond || c.RTTOf != "GLOBAL_REQUEST" {
		t.Errorf("got %v of %s, want 3ms of the second request and its answer", c.RTT, c.RTTOf)
	}
	s.event(trace.Packet{Out: true, Num: 30, Phase: wire.PhaseKexShare, Msg: &wire.KexShareInit{}})
	for range 10 {
		s.message(true, &wire.Ignore{})
	}
	s.event(trace.Packet{Out: true, Num: 30, Phase: wire.PhaseKexShare, Msg: &wire.KexShareInit{}})
	s.event(trace.Packet{Num: 31, Phase: wire.PhaseKexShare, Msg: &wire.KexShareReply{}})
	if c := Count(trace.Entries(s.records)).Conns[0]; c.RTT != time.Millisecond || c.RTTOf != "KEX_ECDH_INIT" {
		t.Errorf("got %v of %s, want 1ms of the second KEX_ECDH_INIT", c.RTT, c.RTTOf)
	}
}

// Compression is told in words.
func TestCompressionLabels(t *testing.T) {
	s := newStory()
	s.begin("bastion:22")
	s.event(trace.Compressing{Effort: 6})
	s.event(trace.Compressed{RawOut: 2048, CompressedOut: 512, RawIn: 1 << 20, CompressedIn: 1 << 10})
	var out bytes.Buffer
	if err := NewLadder(header(), trace.Entries(s.records)).WriteText(&out, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"what is sent is compressed from here on", "compression: 2.0 KiB out as 512 B, 1.0 MiB in as 1.0 KiB"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// Where events were lost, the ladder of each connection that goes on says so.
func TestGap(t *testing.T) {
	at := func(conn int, e trace.Entry) trace.Entry {
		e.Conn, e.Channel = conn, -1
		return e
	}
	lost := trace.Entry{Event: "trace:lost", Channel: -1, Fields: []trace.Field{{Name: "events", Value: int64(7)}}}
	l := NewLadder(header(), []trace.Entry{
		at(1, trace.Entry{Event: "connection:start"}), at(2, trace.Entry{Event: "connection:start"}), at(1, trace.Entry{Event: "connection:end"}),
		lost, at(2, trace.Entry{Event: "connection:end"}), at(3, trace.Entry{Event: "connection:start"}),
	})
	var text, page bytes.Buffer
	if err := errors.Join(l.WriteText(&text, TextOptions{}), l.WriteHTML(&page, nil)); err != nil {
		t.Fatal(err)
	}
	_, second, _ := strings.Cut(text.String(), "connection 2\n")
	if !strings.Contains(second, "7 events are missing here") {
		t.Errorf("the second connection does not say it:\n%s", text.String())
	}
	for name, drawn := range map[string]string{"text": text.String(), "page": page.String()} {
		if n := strings.Count(drawn, "7 events are missing here"); n != 1 {
			t.Errorf("%s: said %d times, want once: of the connection that has begun and not ended", name, n)
		}
	}
}

// A session of Session Manager: acknowledgements fold and give the round trip,
// but not those of what was sent again; pauses are counted.
func TestSessionManager(t *testing.T) {
	s := newStory()
	s.event(trace.ConnStart{Role: "ssm", Target: "i-1"})
	s.event(trace.DialStage{Stage: "ssm:StartSession", Address: "i-1"})
	message := func(out bool, typ string, seq uint32, fields ...trace.Field) {
		s.event(trace.Message{Protocol: trace.ProtocolSSM, Out: out, Type: typ, Seq: seq, Size: 10, Fields: fields})
	}
	data, again := trace.Field{Name: "payload_type", Value: "output"}, trace.Field{Name: "again", Value: true}
	length := trace.Field{Name: "data_length", Value: int64(10)}
	acked := func(n int64) trace.Field { return trace.Field{Name: "acknowledged_sequence_number", Value: n} }
	message(true, "input_stream_data", 0, data, length)
	message(true, "input_stream_data", 1, data, length)
	message(false, "acknowledge", 0, acked(0)) // 2 ms
	message(false, "pause_publication", 0)
	message(true, "input_stream_data", 1, data, again, length)
	message(false, "acknowledge", 0, acked(1)) // 1 ms after the second, of which it may not be
	message(false, "output_stream_data", 0, data, length)
	entries := trace.Entries(s.records)
	c := Count(entries).Conns[0]
	if c.RTT != 2*time.Millisecond || c.RTTOf != "acknowledge" || c.Again != [2]int{1, 0} || c.Pauses != 1 || c.Messages != [2]int{3, 4} {
		t.Errorf("got %+v", c)
	}
	var out bytes.Buffer
	if err := Count(entries).Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"session with i-1", "sent once more 1 out, 0 in", "asked to pause 1×", "ssm:StartSession", "first byte"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("the numbers have no %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := NewLadder(header(), entries).WriteText(&out, TextOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"adit", "gateway", "├── input_stream_data #0 10 B ─", "◀── pause_publication ─", "├── input_stream_data #1 10 B, again ─"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the ladder has no %q:\n%s", want, out.String())
		}
	}
}
