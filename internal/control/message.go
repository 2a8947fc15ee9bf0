//go:build unix

package control

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/adit-ssh/adit/internal/wire"
)

// version is that of the protocol; both sides speak the same one or part.
const version = 4

// kind is a message's type (OpenSSH PROTOCOL.mux, section 11). Those of clients
// begin with 0x1, those of masters with 0x8.
type kind uint32

const (
	kindHello kind = 0x00000001

	kindNewSession    kind = 0x10000002
	kindAliveCheck    kind = 0x10000004
	kindTerminate     kind = 0x10000005
	kindOpenForward   kind = 0x10000006
	kindCloseForward  kind = 0x10000007
	kindNewStdio      kind = 0x10000008
	kindStopListening kind = 0x10000009
	kindProxy         kind = 0x1000000f

	kindOK               kind = 0x80000001
	kindPermissionDenied kind = 0x80000002
	kindFailure          kind = 0x80000003
	kindExit             kind = 0x80000004
	kindAlive            kind = 0x80000005
	kindSessionOpened    kind = 0x80000006
	kindRemotePort       kind = 0x80000007
	kindTTYAllocFail     kind = 0x80000008
	kindProxyOpened      kind = 0x8000000f
)

const (
	// maxPacket is the longest message taken, in bytes: OpenSSH's own limit
	// (channels.c, CHANNEL_MUX_MAX_PACKET).
	maxPacket = 256 << 10
	// maxEnv is how many variables of a session are taken; the rest is dropped
	// (mux.c, MUX_MAX_ENV_VARS).
	maxEnv = 4096
	// noEscape is the escape character of a session that has none.
	noEscape = 0xffffffff
	// pathPort in a port's place says that the host is a socket's path.
	pathPort = 0xfffffffe
)

// message is one of any kind. Which fields it has is for Kind to say.
type message struct {
	Kind kind
	// ID is the request's, chosen by the client and repeated by the master; in
	// kindExit and kindTTYAllocFail it is the session's.
	ID uint32

	Session *sessionRequest // kindNewSession
	Forward *forwardRequest // kindOpenForward, kindCloseForward
	Stdio   *stdioRequest   // kindNewStdio

	// Value is the version of a hello, the pid of kindAlive, the session of
	// kindSessionOpened, the port of kindRemotePort, the status of kindExit.
	Value uint32
	// Reason is that of kindPermissionDenied and kindFailure.
	Reason string
}

// sessionRequest is section 2.
type sessionRequest struct {
	TTY, X11, Agent, Subsystem bool
	Escape                     uint32
	Term, Command              string
	Env                        []string // NAME=value
}

// forwardRequest is sections 6 and 7.
type forwardRequest struct {
	Type        uint32
	ListenHost  string
	ListenPort  uint32
	ConnectHost string
	ConnectPort uint32
}

// The types of forwards.
const (
	forwardLocal   = 1
	forwardRemote  = 2
	forwardDynamic = 3
)

// stdioRequest is section 3.
type stdioRequest struct {
	Host string
	Port uint32
}

// append encodes the message behind b, without its length.
func (m *message) append(b []byte) []byte {
	b = wire.AppendUint32(b, uint32(m.Kind))
	if m.Kind == kindHello {
		return wire.AppendUint32(b, m.Value)
	}
	b = wire.AppendUint32(b, m.ID)
	switch m.Kind {
	case kindNewSession:
		s := m.Session
		b = wire.AppendString(b, "") // reserved
		for _, v := range [...]bool{s.TTY, s.X11, s.Agent, s.Subsystem} {
			b = appendFlag(b, v)
		}
		b = wire.AppendUint32(b, s.Escape)
		b = wire.AppendString(wire.AppendString(b, s.Term), s.Command)
		for _, e := range s.Env {
			b = wire.AppendString(b, e)
		}
	case kindOpenForward, kindCloseForward:
		f := m.Forward
		b = wire.AppendUint32(b, f.Type)
		b = wire.AppendUint32(wire.AppendString(b, f.ListenHost), f.ListenPort)
		b = wire.AppendUint32(wire.AppendString(b, f.ConnectHost), f.ConnectPort)
	case kindNewStdio:
		b = wire.AppendString(b, "") // reserved
		b = wire.AppendUint32(wire.AppendString(b, m.Stdio.Host), m.Stdio.Port)
	case kindPermissionDenied, kindFailure:
		b = wire.AppendString(b, m.Reason)
	case kindAlive, kindSessionOpened, kindRemotePort, kindExit:
		b = wire.AppendUint32(b, m.Value)
	}
	return b
}

// appendFlag appends a boolean as this protocol has them: a uint32.
func appendFlag(b []byte, v bool) []byte {
	if v {
		return wire.AppendUint32(b, 1)
	}
	return wire.AppendUint32(b, 0)
}

var (
	errVersion = errors.New("unsupported multiplexing protocol version")
	errNUL     = errors.New("a text has a NUL byte in it")
)

// decode reads a message. What it holds beyond the fields that are known is
// ignored, as in OpenSSH. Of a kind that is not known it reads the ID.
func decode(b []byte) (*message, error) {
	p := reader{Parser: wire.NewParser(b)}
	m := &message{Kind: kind(p.Uint32())}
	if m.Kind == kindHello {
		m.Value = p.Uint32()
		if p.Err() == nil && m.Value != version {
			return nil, fmt.Errorf("%w %d (expected %d)", errVersion, m.Value, version)
		}
		for p.Err() == nil && p.Len() > 0 { // extensions: there are none yet
			p.text()
			p.Bytes()
		}
		return m, p.end("hello")
	}
	m.ID = p.Uint32()
	switch m.Kind {
	case kindNewSession:
		p.Bytes() // reserved
		s := &sessionRequest{TTY: p.flag(), X11: p.flag(), Agent: p.flag(), Subsystem: p.flag(), Escape: p.Uint32()}
		s.Term, s.Command = p.text(), p.text()
		for p.Err() == nil && p.Len() > 0 {
			if e := p.text(); len(s.Env) < maxEnv {
				s.Env = append(s.Env, e)
			}
		}
		m.Session = s
	case kindOpenForward, kindCloseForward:
		f := &forwardRequest{Type: p.Uint32()}
		f.ListenHost, f.ListenPort = p.text(), p.port()
		f.ConnectHost, f.ConnectPort = p.text(), p.port()
		m.Forward = f
	case kindNewStdio:
		p.Bytes() // reserved
		m.Stdio = &stdioRequest{Host: p.text(), Port: p.port()}
	case kindPermissionDenied, kindFailure:
		m.Reason = p.text()
	case kindAlive, kindSessionOpened, kindRemotePort, kindExit:
		m.Value = p.Uint32()
	}
	return m, p.end(fmt.Sprintf("message 0x%08x", uint32(m.Kind)))
}

// reader is a Parser with this protocol's types. What it finds wrong by itself
// is in err.
type reader struct {
	wire.Parser
	err error
}

func (p *reader) flag() bool { return p.Uint32() != 0 }

func (p *reader) text() string {
	b := p.Bytes()
	if bytes.IndexByte(b, 0) >= 0 {
		p.err = errNUL
	}
	return string(b)
}

func (p *reader) port() uint32 {
	n := p.Uint32()
	if n > 65535 && n != pathPort {
		p.err = fmt.Errorf("%d is no port", n)
	}
	return n
}

func (p *reader) end(what string) error {
	if err := errors.Join(p.Err(), p.err); err != nil {
		return fmt.Errorf("malformed %s: %w", what, err)
	}
	return nil
}
