package trace

import (
	"net"
	"strconv"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// Entry is an event as it stands in a recorded trace: what every sink writes and
// every reader gets back.
type Entry struct {
	// Time is when it happened, since Header.Began. Microseconds are kept.
	Time time.Duration
	// Conn numbers the connections of a trace from 1, in the order in which they
	// began; 0 is an event of none.
	Conn int
	// Event is the event's name, such as "transport:packet".
	Event string
	// Fields are a message's, or the event's own.
	Fields []Field

	// Channel is our number of the channel that it is about, or -1.
	Channel int

	// The rest is for messages only: of SSH, and those that Message has.

	Dir     string // "out" is sent by us, "in" received, "" no message
	Seq     uint32 // packet sequence number in its direction (RFC 4253, section 6.4)
	Size    int    // of the payload, bytes
	Number  byte   // message number
	Message string // its name in the RFCs, without SSH_MSG_
}

// IsSSH reports whether the entry is a message of SSH.
func (e *Entry) IsSSH() bool { return e.Dir != "" && e.Event == Packet{}.Name() }

// Text returns a field as text, "" when it is not there.
func (e *Entry) Text(name string) string {
	for _, f := range e.Fields {
		if f.Name == name {
			return valueText(f.Value)
		}
	}
	return ""
}

// Int returns a field that is a number; ok is false when it is not there.
func (e *Entry) Int(name string) (n int64, ok bool) {
	for _, f := range e.Fields {
		if f.Name == name {
			n, ok = f.Value.(int64)
			return n, ok
		}
	}
	return 0, false
}

// Target is the host and port, or the path, that a CHANNEL_OPEN names.
func (e *Entry) Target() string {
	for _, names := range [...][2]string{{"host_to_connect", "port_to_connect"}, {"address_that_was_connected", "port_that_was_connected"}} {
		if port, ok := e.Int(names[1]); ok {
			return net.JoinHostPort(e.Text(names[0]), strconv.FormatInt(port, 10))
		}
	}
	return e.Text("socket_path")
}

// Originator is where a CHANNEL_OPEN says that the connection comes from.
func (e *Entry) Originator() string {
	port, ok := e.Int("originator_port")
	if !ok {
		return ""
	}
	return net.JoinHostPort(e.Text("originator_ip_address"), strconv.FormatInt(port, 10))
}

// entries makes Entries of one connection's events. It learns from CHANNEL_OPEN
// and its confirmation which of the peer's numbers belongs to which of ours, so
// the events must come in their order.
type entries struct {
	began time.Time
	conn  int
	data  bool              // channel data is recorded
	ours  map[uint32]uint32 // the peer's number of a channel to ours
}

func (s *entries) entry(at time.Time, e Event) Entry {
	n := Entry{Time: max(0, at.Sub(s.began)).Truncate(time.Microsecond), Conn: s.conn, Event: e.Name(), Channel: -1}
	var p Packet
	switch e := e.(type) {
	case Packet:
		p = e
	case Message:
		n.Dir, n.Seq, n.Size, n.Number, n.Message, n.Fields = direction(e.Out), e.Seq, e.Size, e.Number, e.Type, e.Fields
		return n
	default:
		n.Fields, n.Channel = eventFields(e), eventChannel(e)
		return n
	}
	n.Dir, n.Seq, n.Size, n.Number, n.Message = direction(p.Out), p.Seq, p.Size, p.Num, wire.Name(p.Phase, p.Num)
	if p.Msg == nil {
		n.Fields = []Field{{"error", p.Err.Error()}}
		return n
	}
	n.Message = wire.MsgName(p.Msg)
	n.Fields = MessageFields(p.Msg, s.data && !p.Withheld)
	n.Channel = s.channel(p.Out, p.Msg)
	return n
}

func direction(out bool) string {
	if out {
		return "out"
	}
	return "in"
}

// channel returns our number of the channel that m is about, or -1.
func (s *entries) channel(out bool, m wire.Msg) int {
	switch m := m.(type) {
	case *wire.ChannelOpen:
		if out {
			return int(m.SenderChannel)
		}
		return -1 // the peer's; ours comes with the confirmation
	case *wire.ChannelOpenConfirmation:
		ours, peers := m.RecipientChannel, m.SenderChannel
		if out {
			ours, peers = peers, ours
		}
		if s.ours == nil {
			s.ours = map[uint32]uint32{}
		}
		if len(s.ours) < maxNumbers {
			s.ours[peers] = ours
		}
		return int(ours)
	case *wire.ChannelOpenFailure:
		if out {
			return -1
		}
	}
	to, ok := recipient(m)
	if !ok {
		return -1
	}
	if !out {
		return int(to)
	}
	ours, ok := s.ours[to]
	if !ok {
		return -1
	}
	if _, ok := m.(*wire.ChannelClose); ok {
		delete(s.ours, to) // the last that we send there; the number may come again
	}
	return int(ours)
}

// maxNumbers is how many of the peer's channel numbers are remembered. The mux
// allows fewer channels.
const maxNumbers = 1 << 16

func recipient(m wire.Msg) (uint32, bool) {
	switch m := m.(type) {
	case *wire.ChannelOpenFailure:
		return m.RecipientChannel, true
	case *wire.ChannelWindowAdjust:
		return m.RecipientChannel, true
	case *wire.ChannelData:
		return m.RecipientChannel, true
	case *wire.ChannelExtendedData:
		return m.RecipientChannel, true
	case *wire.ChannelEOF:
		return m.RecipientChannel, true
	case *wire.ChannelClose:
		return m.RecipientChannel, true
	case *wire.ChannelRequest:
		return m.RecipientChannel, true
	case *wire.ChannelSuccess:
		return m.RecipientChannel, true
	case *wire.ChannelFailure:
		return m.RecipientChannel, true
	}
	return 0, false
}

func eventChannel(e Event) int {
	switch e := e.(type) {
	case ChannelOpened:
		return int(e.Local)
	case ChannelClosed:
		return int(e.Local)
	}
	return -1
}

// eventFields are the fields of events that are no messages.
func eventFields(e Event) []Field {
	var f fields
	switch e := e.(type) {
	case ConnStart:
		f.text("role", e.Role)
		f.optional("target", e.Target)
		f.optional("local", e.Local)
		f.optional("remote", e.Remote)
	case ConnUp:
		f.text("local", e.Local)
		f.text("remote", e.Remote)
		f.took(e.Took)
	case ConnEnd:
		f.took(e.Took)
		f.optional("error", e.Err)
	case DialStage:
		f.text("stage", e.Stage)
		f.text("address", e.Address)
		f.add(len(e.Found) > 0, Field{"found", e.Found})
		f.took(e.Took)
		f.optional("error", e.Err)
	case Version:
		f.text("local", e.Local)
		f.text("peer", e.Peer)
	case BannerLine:
		f.size("line", e.Number)
		f.text("text", e.Text)
	case Negotiated:
		f.algorithms(e.Kex, e.HostKey, e.CipherOut, e.CipherIn, e.MACOut, e.MACIn, e.Strict)
		f.compression(e.CompressionOut, e.CompressionIn)
	case KexDone:
		f.algorithms(e.Kex, e.HostKey, e.CipherOut, e.CipherIn, e.MACOut, e.MACIn, e.Strict)
		f.compression(e.CompressionOut, e.CompressionIn)
		f.flag("first", e.First)
		f.text("host_key_fingerprint", e.HostKeyFingerprint)
		f.took(e.Took)
	case Compressing:
		f.size("effort", e.Effort)
	case Compressed:
		f.add(true, Field{"raw_out", int64(e.RawOut)}, Field{"compressed_out", int64(e.CompressedOut)},
			Field{"raw_in", int64(e.RawIn)}, Field{"compressed_in", int64(e.CompressedIn)})
	case AuthAttempt:
		f.text("user_name", e.User)
		f.text("method_name", e.Method)
		f.optional("key", e.Key)
		f.flag("probe", e.Probe)
		f.text("result", e.Result)
		f.add(len(e.CanContinue) > 0, Field{"can_continue", e.CanContinue})
		f.optional("error", e.Err)
	default:
		f.channelEvent(e)
	}
	return f
}

func (f *fields) channelEvent(e Event) {
	switch e := e.(type) {
	case ChannelOpened:
		f.text("channel_type", e.Type)
		f.num("peer_channel", e.Peer)
		f.flag("by_peer", e.ByPeer)
		f.optional("target", e.Target)
		f.optional("originator", e.Originator)
		f.num("window_in", e.WindowIn)
		f.num("window_out", e.WindowOut)
		f.num("maximum_packet_in", e.MaxPacketIn)
		f.num("maximum_packet_out", e.MaxPacketOut)
	case ChannelRefused:
		f.text("channel_type", e.Type)
		f.flag("by_peer", e.ByPeer)
		f.optional("target", e.Target)
		f.optional("originator", e.Originator)
		f.num("reason_code", e.Reason)
		f.text("description", e.Description)
	case ChannelClosed:
		f.text("channel_type", e.Type)
		f.add(true, Field{"bytes_in", int64(e.BytesIn)}, Field{"bytes_out", int64(e.BytesOut)})
		f.optional("error", e.Err)
	case AgentDecision:
		f.text("operation", e.Operation)
		f.optional("key", e.Key)
		f.flag("refused", e.Refused != "")
		f.optional("error", e.Refused)
	case Lost:
		f.add(true, Field{"events", e.Events})
	case Forward:
		f.text("what", e.What)
		f.optional("spec", e.Spec)
		f.optional("local", e.Local)
		f.optional("originator", e.Originator)
		f.optional("target", e.Target)
		f.add(e.What == "done", Field{"bytes_in", e.In}, Field{"bytes_out", e.Out})
		f.optional("error", e.Err)
	}
}

func (f *fields) algorithms(kex, hostKey, cipherOut, cipherIn, macOut, macIn string, strict bool) {
	f.text("kex", kex)
	f.text("host_key", hostKey)
	f.text("cipher_out", cipherOut)
	f.text("cipher_in", cipherIn)
	f.optional("mac_out", macOut)
	f.optional("mac_in", macIn)
	f.flag("strict", strict)
}

// compression is told where there is any.
func (f *fields) compression(out, in string) {
	if compresses(out) || compresses(in) {
		f.optional("compression_out", out)
		f.optional("compression_in", in)
	}
}

// compresses reports whether an algorithm's name stands for compression.
func compresses(name string) bool { return name != "" && name != "none" }

// took is a duration, in microseconds.
func (f *fields) took(d time.Duration) {
	f.add(true, Field{fieldTook, d.Microseconds()})
}
