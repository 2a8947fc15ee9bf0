package wire

import (
	"errors"
	"fmt"
)

// Msg is one SSH message.
type Msg interface {
	// Num returns the message number.
	Num() byte
	// Append appends the payload, number first.
	Append(b []byte) []byte

	parse(p *Parser)
}

// Redactor is a Msg with secrets in it. Redacted returns a copy without them.
type Redactor interface {
	Msg
	Redacted() Msg
}

// Redact returns m, or a copy without secrets when it has any.
func Redact(m Msg) Msg {
	if r, ok := m.(Redactor); ok {
		return r.Redacted()
	}
	return m
}

// Phase says what numbers 30-49 and 60-79 mean when a message arrives.
type Phase uint8

// Phases. Numbers outside 30-49 and 60-79 mean the same in all of them.
const (
	PhaseAny       Phase = iota // numbers 30-49 and 60-79 are unknown
	PhaseKexShare               // a key exchange of one round: DH, ECDH, hybrids
	PhaseKexGex                 // diffie-hellman-group-exchange
	PhasePublickey              // userauth method publickey or hostbound
	PhasePassword               // userauth method password
	PhaseKbdint                 // userauth method keyboard-interactive
)

// ErrUnknown is returned by Decode for a number that has no meaning in the
// phase. RFC 4253, section 11.4, wants it answered with UNIMPLEMENTED.
var ErrUnknown = errors.New("unknown message number")

// Decode decodes a whole payload. Slices in the result share its memory.
func Decode(phase Phase, payload []byte) (Msg, error) {
	if len(payload) == 0 {
		return nil, errShort
	}
	m := newMsg(phase, payload[0])
	if m == nil {
		return nil, fmt.Errorf("%w %d", ErrUnknown, payload[0])
	}
	if err := Parse(payload, m); err != nil {
		return nil, err
	}
	return m, nil
}

// Parse decodes a payload into m, whose number it must carry.
func Parse(payload []byte, m Msg) error {
	p := NewParser(payload)
	if n := p.Byte(); p.Err() == nil && n != m.Num() {
		return fmt.Errorf("message %s, want %s", Name(PhaseAny, n), msgName(m))
	}
	m.parse(&p)
	if err := p.Done(); err != nil {
		return fmt.Errorf("%s: %w", msgName(m), err)
	}
	return nil
}

// newMsg is the table of message numbers.
func newMsg(phase Phase, num byte) Msg {
	switch num {
	case NumDisconnect:
		return new(Disconnect)
	case NumIgnore:
		return new(Ignore)
	case NumUnimplemented:
		return new(Unimplemented)
	case NumDebug:
		return new(Debug)
	case NumServiceRequest:
		return new(ServiceRequest)
	case NumServiceAccept:
		return new(ServiceAccept)
	case NumExtInfo:
		return new(ExtInfo)
	case NumNewCompress:
		return new(NewCompress)
	case NumKexInit:
		return new(KexInit)
	case NumNewKeys:
		return new(NewKeys)
	case NumUserauthRequest:
		return new(UserauthRequest)
	case NumUserauthFailure:
		return new(UserauthFailure)
	case NumUserauthSuccess:
		return new(UserauthSuccess)
	case NumUserauthBanner:
		return new(UserauthBanner)
	case NumGlobalRequest:
		return new(GlobalRequest)
	case NumRequestSuccess:
		return new(RequestSuccess)
	case NumRequestFailure:
		return new(RequestFailure)
	case NumChannelOpen:
		return new(ChannelOpen)
	case NumChannelOpenConfirmation:
		return new(ChannelOpenConfirmation)
	case NumChannelOpenFailure:
		return new(ChannelOpenFailure)
	case NumChannelWindowAdjust:
		return new(ChannelWindowAdjust)
	case NumChannelData:
		return new(ChannelData)
	case NumChannelExtendedData:
		return new(ChannelExtendedData)
	case NumChannelEOF:
		return new(ChannelEOF)
	case NumChannelClose:
		return new(ChannelClose)
	case NumChannelRequest:
		return new(ChannelRequest)
	case NumChannelSuccess:
		return new(ChannelSuccess)
	case NumChannelFailure:
		return new(ChannelFailure)
	case NumPing:
		return new(Ping)
	case NumPong:
		return new(Pong)
	}
	return newPhaseMsg(phase, num)
}

func newPhaseMsg(phase Phase, num byte) Msg {
	switch {
	case phase == PhaseKexShare && num == NumKexShareInit:
		return new(KexShareInit)
	case phase == PhaseKexShare && num == NumKexShareReply:
		return new(KexShareReply)
	case phase == PhaseKexGex && num == NumKexGexRequest:
		return new(KexGexRequest)
	case phase == PhaseKexGex && num == NumKexGexGroup:
		return new(KexGexGroup)
	case phase == PhaseKexGex && num == NumKexGexInit:
		return new(KexGexInit)
	case phase == PhaseKexGex && num == NumKexGexReply:
		return new(KexGexReply)
	case phase == PhasePublickey && num == NumUserauthPKOK:
		return new(UserauthPKOK)
	case phase == PhasePassword && num == NumUserauthPasswdChange:
		return new(UserauthPasswdChange)
	case phase == PhaseKbdint && num == NumUserauthInfoRequest:
		return new(UserauthInfoRequest)
	case phase == PhaseKbdint && num == NumUserauthInfoResponse:
		return new(UserauthInfoResponse)
	}
	return nil
}
