package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"unicode"

	"github.com/adit-ssh/adit/internal/wire"
)

// ErrClosed is what operations return after Close.
var ErrClosed = fmt.Errorf("connection closed: %w", net.ErrClosed)

// ErrExpect is how the handshake of a client ends whose Config.Expect has no
// HostKey, when the server chooses another key exchange, or leaves before it has
// answered the first packet of this one.
var ErrExpect = errors.New("the server does not go on with the key exchange that was expected of it")

// errPeerClosed stands for a connection that the peer ended without DISCONNECT.
var errPeerClosed = fmt.Errorf("connection closed by the peer: %w", io.EOF)

// DisconnectError is a DISCONNECT message, ours or the peer's.
type DisconnectError struct {
	Reason uint32 // RFC 4253, section 11.1
	Text   string // sanitised: printable, one line
	ByPeer bool
}

func (e *DisconnectError) Error() string {
	who := "disconnected"
	if e.ByPeer {
		who = "disconnected by the peer"
	}
	return fmt.Sprintf("%s: %s (reason %d)", who, e.Text, e.Reason)
}

// ProtocolError is a rule that the peer broke. Reason is the code of the
// DISCONNECT that we sent because of it.
type ProtocolError struct {
	Reason uint32
	Err    error
}

func (e *ProtocolError) Error() string { return "protocol error: " + e.Err.Error() }
func (e *ProtocolError) Unwrap() error { return e.Err }

// HostKeyError says that the server's host key was not accepted.
type HostKeyError struct{ Err error }

func (e *HostKeyError) Error() string { return "host key: " + e.Err.Error() }
func (e *HostKeyError) Unwrap() error { return e.Err }

// NegotiationError says that the two sides have no algorithm in common.
type NegotiationError struct {
	What          string // "key exchange", "host key", "cipher client to server", …
	Local, Peer   []string
	PeerIsFlooded bool
}

func (e *NegotiationError) Error() string {
	return fmt.Sprintf("no %s algorithm in common: we offer %s; the peer offers %s",
		e.What, listText(e.Local), listText(e.Peer))
}

// VersionError says that the peer does not begin as an SSH server or client
// does. Its Hint says what might help.
type VersionError struct {
	Greeting Greeting // what came instead, as far as it was recognised
	Text     string   // what is wrong
	Lines    []string // what came instead, sanitised, four lines at most
	Count    int      // how many whole lines came
	Err      error    // how the connection or the wait for it ended; may be nil
}

func (e *VersionError) Error() string {
	s := "version line: " + e.Text
	if len(e.Lines) > 0 {
		s += fmt.Sprintf("; it sent %q", strings.Join(e.Lines, " | "))
	}
	if e.Count > len(e.Lines) && len(e.Lines) > 0 {
		s += fmt.Sprintf(" and more, %d lines in all", e.Count)
	}
	if e.Err != nil { // which may quote others, such as a proxy command
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns how the connection ended, or why the wait for the line did.
func (e *VersionError) Unwrap() error { return e.Err }

func listText(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	s := strings.Join(names, ",")
	if len(s) > 1000 {
		s = s[:1000] + "…"
	}
	return s
}

// Sanitize makes peer text fit for a terminal or a log: one line, printable,
// at most max bytes.
func Sanitize(s string, max int) string {
	s = strings.TrimRight(s, "\r\n")
	cut := false
	if len(s) > max {
		s, cut = s[:max], true
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r == unicode.ReplacementChar, !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if cut {
		s += "…"
	}
	return s
}

// protocolError returns a ProtocolError with the usual reason.
func protocolError(format string, args ...any) *ProtocolError {
	return &ProtocolError{wire.DisconnectProtocolError, fmt.Errorf(format, args...)}
}

// lastWord returns what a DISCONNECT because of err says, and whether one makes
// sense at all.
func lastWord(err error) (reason uint32, text string, ok bool) {
	if pe, ok := errors.AsType[*ProtocolError](err); ok {
		return pe.Reason, err.Error(), true
	}
	if _, ok := errors.AsType[*HostKeyError](err); ok {
		// Which keys we know is none of the server's business.
		return wire.DisconnectHostKeyNotVerifiable, "host key is not trusted", true
	}
	if _, ok := errors.AsType[*NegotiationError](err); ok {
		return wire.DisconnectKeyExchangeFailed, err.Error(), true
	}
	return 0, "", false
}

// left reports whether an error is that the peer ended the connection, or that the
// way to it ended, which has errors of its own kind.
func left(err error) bool {
	if e, ok := errors.AsType[*DisconnectError](err); ok {
		return e.ByPeer
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return false
	}
	_, protocol := errors.AsType[*ProtocolError](err)
	_, negotiation := errors.AsType[*NegotiationError](err)
	return err != nil && !protocol && !negotiation && !errors.Is(err, ErrExpect)
}
