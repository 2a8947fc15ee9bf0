package ssmwire

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Open is the text message with which a data channel begins.
type Open struct {
	MessageSchemaVersion string
	RequestID            string `json:"RequestId"`
	TokenValue           string // secret: whoever has it has the session
	ClientID             string `json:"ClientId"`
	ClientVersion        string
}

// Ack is the payload of an Acknowledge.
type Ack struct {
	Type     string `json:"AcknowledgedMessageType"`
	ID       string `json:"AcknowledgedMessageId"`
	Sequence int64  `json:"AcknowledgedMessageSequenceNumber"`
	// Sequential is always true.
	Sequential bool `json:"IsSequentialMessage"`
}

// AppendAck appends the payload that acknowledges a message.
func AppendAck(b []byte, typ string, id ID, sequence int64) []byte {
	b = append(b, `{"AcknowledgedMessageType":"`...)
	b = append(b, typ...) // one of ours, which needs no quoting
	b = append(b, `","AcknowledgedMessageId":"`...)
	b = id.append(b)
	b = append(b, `","AcknowledgedMessageSequenceNumber":`...)
	b = strconv.AppendInt(b, sequence, 10)
	return append(b, `,"IsSequentialMessage":true}`...)
}

// ParseAck reads the payload of an Acknowledge.
func ParseAck(b []byte) (Ack, error) {
	a := Ack{Sequence: -1}
	if err := parse(b, "acknowledgement", &a); err != nil {
		return Ack{}, err
	}
	if a.Sequence < 0 {
		return Ack{}, fmt.Errorf("acknowledgement: no sequence number")
	}
	return a, nil
}

// Closed is the payload of a ChannelClosed.
type Closed struct {
	SessionID string `json:"SessionId"`
	Output    string // the reason, or ""; a person may have written it
}

// ParseClosed reads the payload of a ChannelClosed.
func ParseClosed(b []byte) (c Closed, err error) {
	return c, parse(b, "channel_closed", &c)
}

// Actions that an agent asks for in its handshake.
const (
	ActionSessionType   = "SessionType"
	ActionKMSEncryption = "KMSEncryption"
)

// ActionStatus is how an action went.
type ActionStatus int

// The statuses.
const (
	ActionSuccess     ActionStatus = 1
	ActionFailed      ActionStatus = 2
	ActionUnsupported ActionStatus = 3
)

// HandshakeRequest is the agent's first message.
type HandshakeRequest struct {
	AgentVersion           string
	RequestedClientActions []Action
}

// Action is one thing that an agent asks for.
type Action struct {
	ActionType       string
	ActionParameters json.RawMessage
}

// SessionType are the parameters of ActionSessionType.
type SessionType struct {
	SessionType string // "Port", or a kind of shell
	Properties  PortProperties
}

// PortProperties are a session document's properties, parameters filled in.
type PortProperties struct {
	PortNumber string `json:"portNumber"`
	Host       string `json:"host"`
	Type       string `json:"type"` // "LocalPortForwarding" or ""
}

// LocalPortForwarding is the type of documents that multiplex.
const LocalPortForwarding = "LocalPortForwarding"

// ParseHandshakeRequest reads the payload of a PayloadHandshakeRequest.
func ParseHandshakeRequest(b []byte) (r HandshakeRequest, err error) {
	return r, parse(b, "handshake request", &r)
}

// ParseSessionType reads the parameters of an ActionSessionType. Properties that
// are not as expected count as none: custom documents may have any.
func ParseSessionType(b []byte) (SessionType, error) {
	var loose struct {
		SessionType string
		Properties  json.RawMessage
	}
	if err := parse(b, "session type", &loose); err != nil {
		return SessionType{}, err
	}
	s := SessionType{SessionType: loose.SessionType}
	var p map[string]any
	if json.Unmarshal(loose.Properties, &p) == nil {
		s.Properties.PortNumber, _ = p["portNumber"].(string)
		s.Properties.Host, _ = p["host"].(string)
		s.Properties.Type, _ = p["type"].(string)
	}
	return s, nil
}

// HandshakeResponse answers a HandshakeRequest.
type HandshakeResponse struct {
	ClientVersion          string
	ProcessedClientActions []ActionResult
	Errors                 []string
}

// ActionResult is how we fared with one action.
type ActionResult struct {
	ActionType   string
	ActionStatus ActionStatus
	ActionResult any
	Error        string
}

// ParseHandshakeResponse reads the payload of a PayloadHandshakeResponse.
func ParseHandshakeResponse(b []byte) (r HandshakeResponse, err error) {
	return r, parse(b, "handshake response", &r)
}

// Marshal returns the payload.
func (r *HandshakeResponse) Marshal() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("BUG: handshake response: " + err.Error())
	}
	return b
}

// HandshakeComplete ends the handshake.
type HandshakeComplete struct {
	CustomerMessage string // for the person, of whoever wrote the document
}

// ParseHandshakeComplete reads the payload of a PayloadHandshakeComplete.
func ParseHandshakeComplete(b []byte) (c HandshakeComplete, err error) {
	return c, parse(b, "handshake complete", &c)
}

func parse(b []byte, what string, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
