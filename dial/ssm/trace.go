package ssm

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/adit-ssh/adit/internal/ssmsession"
	"github.com/adit-ssh/adit/internal/ssmwire"
	"github.com/adit-ssh/adit/trace"
)

// recorder tells the Tracer of who dials (trace.FromContext) how a session comes
// about, and each message of its data channel. Tokens never come near it.
type recorder struct {
	tracer trace.Tracer // nil is nobody
	opened time.Time    // when the first data channel was; what the handshake counts from

	sent     numbers // owned by who writes messages
	received numbers // owned by who reads them
}

func newRecorder(ctx context.Context) *recorder { return &recorder{tracer: trace.FromContext(ctx)} }

// span is one of several sessions, as a connection of its own in a trace.
type span struct {
	tracer trace.Tracer
	began  time.Time
}

// newSpan begins one for a session that ctx is to start: what it returns has its Tracer.
func newSpan(ctx context.Context, target string) (context.Context, *span) {
	tracer := trace.FromContext(ctx)
	if tracer == nil {
		return ctx, nil
	}
	s := &span{trace.Branch(tracer), time.Now()}
	trace.Emit(s.tracer, trace.ConnStart{Role: "ssm", Target: target})
	return trace.NewContext(ctx, s.tracer), s
}

func (s *span) end(err error) {
	if s == nil {
		return
	}
	e := trace.ConnEnd{Took: time.Since(s.began)}
	if err != nil {
		e.Err = (&Error{Err: err}).reason()
	}
	trace.Emit(s.tracer, e)
}

// stage begins a step; what it returns ends it.
func (r *recorder) stage(name, about string) (end func(error)) {
	if r.tracer == nil {
		return func(error) {}
	}
	began := time.Now()
	return func(err error) { r.ended(name, about, time.Since(began), err) }
}

func (r *recorder) ended(name, about string, took time.Duration, err error) {
	e := trace.DialStage{Stage: name, Address: about, Took: took}
	if err != nil {
		e.Err = (&Error{Err: err}).reason() // which has neither URLs nor tokens
	}
	trace.Emit(r.tracer, e)
}

// connecting records what connect does, and what goes over what it opens.
func (r *recorder) connecting(connect func(context.Context, bool, func() bool) (ssmsession.Messages, error)) func(context.Context, bool, func() bool) (ssmsession.Messages, error) {
	if r.tracer == nil {
		return connect
	}
	return func(ctx context.Context, again bool, blocked func() bool) (ssmsession.Messages, error) {
		name := "data channel"
		if again {
			name = "ssm:ResumeSession and data channel"
		}
		end := r.stage(name, "")
		m, err := connect(ctx, again, blocked)
		end(err)
		if !again {
			r.opened = time.Now()
		}
		if err == nil && trace.Wants(r.tracer, trace.LevelPacket) {
			m = &recordedMessages{m, r}
		}
		return m, err
	}
}

// greeted tells how the handshake with the agent went, unless what was before it
// failed.
func (r *recorder) greeted(s *ssmsession.Session, err error) {
	if r.tracer == nil || r.opened.IsZero() {
		return
	}
	about := ""
	if s != nil {
		about = "agent " + s.AgentVersion()
	}
	r.ended("handshake", about, time.Since(r.opened), err)
}

// recordedMessages are those of a WebSocket.
type recordedMessages struct {
	ssmsession.Messages
	r *recorder
}

// ReadMessage implements ssmsession.Messages.
func (m *recordedMessages) ReadMessage() ([]byte, error) {
	b, err := m.Messages.ReadMessage()
	if err == nil {
		m.r.message(false, &m.r.received, b)
	}
	return b, err
}

// WriteMessage implements ssmsession.Messages.
func (m *recordedMessages) WriteMessage(b []byte) error {
	m.r.message(true, &m.r.sent, b)
	return m.Messages.WriteMessage(b)
}

// message tells of one. Of its payload only what is known to be no secret.
func (r *recorder) message(out bool, seen *numbers, b []byte) {
	m := trace.Message{Protocol: trace.ProtocolSSM, Out: out, Size: max(0, len(b)-ssmwire.HeaderSize)}
	f, err := ssmwire.Parse(b)
	if err != nil {
		m.Type, m.Fields = "malformed", []trace.Field{{Name: "error", Value: err.Error()}}
		trace.Emit(r.tracer, m)
		return
	}
	m.Type, m.Number, m.Seq, m.Size = f.Type, byte(f.PayloadType), uint32(f.Sequence), len(f.Payload)
	add := func(name string, value any) { m.Fields = append(m.Fields, trace.Field{Name: name, Value: value}) }
	if f.Type == ssmwire.Input || f.Type == ssmwire.Output {
		add("payload_type", payloadName(f.PayloadType))
		if seen.again(f.Sequence) {
			add("again", true) // it was sent before
		}
	}
	if f.Flags != 0 {
		add("flags", int64(f.Flags))
	}
	for _, field := range payloadFields(&f, trace.Wants(r.tracer, trace.LevelData)) {
		add(field.Name, field.Value)
	}
	trace.Emit(r.tracer, m)
}

// payloadFields are what may be told of a payload.
func payloadFields(f *ssmwire.Frame, data bool) (fields []trace.Field) {
	add := func(name string, value any) { fields = append(fields, trace.Field{Name: name, Value: value}) }
	text := func(name, value string) {
		if value != "" {
			add(name, value)
		}
	}
	switch f.Type {
	case ssmwire.Acknowledge:
		if a, err := ssmwire.ParseAck(f.Payload); err == nil {
			add("acknowledged_type", a.Type)
			add("acknowledged_sequence_number", a.Sequence)
		} else {
			add("malformed", true)
		}
		return fields
	case ssmwire.ChannelClosed:
		if c, err := ssmwire.ParseClosed(f.Payload); err == nil {
			add("output", c.Output)
		} else {
			add("malformed", true)
		}
		return fields
	case ssmwire.Input, ssmwire.Output:
	default:
		return nil
	}
	switch f.PayloadType {
	case ssmwire.PayloadData:
		add("data_length", int64(len(f.Payload)))
		if data {
			fields = append(fields, trace.DataField(f.Payload))
		}
	case ssmwire.PayloadHandshakeRequest:
		return append(fields, requestFields(f.Payload)...)
	case ssmwire.PayloadHandshakeResponse:
		if r, err := ssmwire.ParseHandshakeResponse(f.Payload); err == nil {
			add("client_version", r.ClientVersion)
		}
	case ssmwire.PayloadHandshakeComplete:
		if c, err := ssmwire.ParseHandshakeComplete(f.Payload); err == nil {
			text("customer_message", c.CustomerMessage)
		}
	case ssmwire.PayloadFlag:
		if len(f.Payload) == 4 {
			add("flag", flagName(binary.BigEndian.Uint32(f.Payload)))
		}
	}
	return fields
}

// requestFields are the agent's version and what it asks for. Of a document's
// properties only those are told that say where the session leads.
func requestFields(payload []byte) []trace.Field {
	r, err := ssmwire.ParseHandshakeRequest(payload)
	if err != nil {
		return []trace.Field{{Name: "malformed", Value: true}}
	}
	fields := []trace.Field{{Name: "agent_version", Value: r.AgentVersion}}
	actions := []string{}
	for _, a := range r.RequestedClientActions {
		actions = append(actions, a.ActionType)
		t, err := ssmwire.ParseSessionType(a.ActionParameters)
		if a.ActionType != ssmwire.ActionSessionType || err != nil {
			continue
		}
		p := t.Properties
		for _, f := range [...]struct{ name, value string }{{"session_type", t.SessionType}, {"host", p.Host}, {"port", p.PortNumber}, {"properties_type", p.Type}} {
			if f.value != "" {
				fields = append(fields, trace.Field{Name: f.name, Value: f.value})
			}
		}
	}
	return append(fields, trace.Field{Name: "actions", Value: actions})
}

func payloadName(n uint32) string {
	switch n {
	case ssmwire.PayloadData:
		return "output" // AWS's name for data, either way
	case ssmwire.PayloadHandshakeRequest:
		return "handshake request"
	case ssmwire.PayloadHandshakeResponse:
		return "handshake response"
	case ssmwire.PayloadHandshakeComplete:
		return "handshake complete"
	case ssmwire.PayloadChallengeRequest:
		return "encryption challenge request"
	case ssmwire.PayloadFlag:
		return "flag"
	}
	return "unknown"
}

func flagName(n uint32) string {
	switch n {
	case ssmwire.FlagDisconnectToPort:
		return "disconnect to port"
	case ssmwire.FlagTerminateSession:
		return "terminate session"
	case ssmwire.FlagConnectToPortError:
		return "connect to port error"
	}
	return "unknown"
}

// numbers remembers which sequence numbers there were: all below next, and those
// of ahead.
type numbers struct {
	next  int64
	ahead map[int64]bool
}

// maxAhead bounds what is remembered. A session keeps no more than that behind a
// gap.
const maxAhead = 1 << 14

// again notes a number, and reports whether it was there before.
func (s *numbers) again(n int64) bool {
	if n < s.next || s.ahead[n] {
		return true
	}
	if n > s.next {
		if s.ahead == nil {
			s.ahead = map[int64]bool{}
		}
		if len(s.ahead) < maxAhead {
			s.ahead[n] = true
		}
		return false
	}
	for s.next++; s.ahead[s.next]; s.next++ {
		delete(s.ahead, s.next)
	}
	return false
}
