package trace

import "slices"

// Protocols whose messages a Message can be of.
const (
	ProtocolAgent = "agent" // RFC 9987
	ProtocolSSM   = "ssm"   // AWS Session Manager's data channel
)

// Message is a message of another protocol than SSH. Who emits it leaves out what
// is secret: nobody behind it knows the protocol.
type Message struct {
	Protocol string // ProtocolAgent or ProtocolSSM
	Out      bool   // sent by us
	// Type is the message's name as its protocol has it: AGENTC_SIGN_REQUEST (RFC
	// 9987's names, without SSH_), input_stream_data. It may be a peer's text.
	Type string
	// Number is an agent message's number, or the payload's type with Session
	// Manager, 0 for acknowledgements.
	Number byte
	// Seq is the sequence number of Session Manager's messages, or counts an agent
	// connection's requests; an answer has its request's.
	Seq    uint32
	Size   int // of the payload, bytes; without what is secret
	Fields []Field
}

// Name implements Event: "agent:message" or "ssm:message".
func (m Message) Name() string { return m.Protocol + ":message" }

// Level implements Event.
func (Message) Level() Level { return LevelPacket }

// DataField is what carries a message's data. It belongs into an event only where
// the Tracer wants LevelData.
func DataField(b []byte) Field {
	var f fields
	f.base64(b)
	return f[0]
}

// withoutData leaves data out of a message.
func (m Message) withoutData() Message {
	m.Fields = slices.DeleteFunc(slices.Clone(m.Fields), func(f Field) bool { return f.Name == fieldData })
	return m
}

// AgentDecision is what an agent made of a request.
type AgentDecision struct {
	Operation string // list, sign, add, …; as the agent's log has it
	Key       string // fingerprint of the key that it is about, or ""
	Refused   string // why it was refused; "" when it was not
}

// Name implements Event.
func (AgentDecision) Name() string { return "agent:decision" }

// Level implements Event.
func (AgentDecision) Level() Level { return LevelConn }
