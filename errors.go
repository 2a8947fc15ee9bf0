package adit

import (
	"errors"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/userauth"
)

// Errors that callers tell apart with errors.As.
type (
	// OpenError is a channel that the server refused to open.
	OpenError = mux.OpenError
	// IdleError is what a connection gets that Config.ChannelTimeout closed.
	IdleError = mux.IdleError
	// AuthError says that the server did not let us in.
	AuthError = userauth.AuthError
	// HostKeyError says that the server's key is not trusted; it wraps the
	// reason, such as a *knownhosts.UnknownError.
	HostKeyError = transport.HostKeyError
	// DisconnectError is a DISCONNECT, ours or the server's.
	DisconnectError = transport.DisconnectError
	// NegotiationError says that there is no algorithm in common.
	NegotiationError = transport.NegotiationError
	// VersionError says that the other end does not speak SSH, and what it
	// speaks instead, if that could be recognised.
	VersionError = transport.VersionError
	// Greeting is what came in place of a version line.
	Greeting = transport.Greeting
	// ProtocolError is a rule of the protocol that the server broke.
	ProtocolError = transport.ProtocolError
)

// ErrClosed is returned by operations on a closed Client. It wraps
// net.ErrClosed.
var ErrClosed = transport.ErrClosed

// ErrSkip is returned by Config.Password or Config.Answer when nobody can be
// asked, as it is or wrapped with the reason: the method is left out. Other
// errors end the login.
var ErrSkip = userauth.ErrSkip

// ErrUnverified is what Config.CheckHostKey returns, wrapped or not, for a key
// that is not the server's as far as one knows when the connection is to go on
// all the same (StrictHostKeyChecking=no and a changed key): without passwords
// and keyboard-interactive, whose secrets whoever is there could use. See
// Client.Unverified.
var ErrUnverified = errors.New("the server's host key is not verified")

// StageError says in which stage of connecting an error occurred.
type StageError struct {
	Stage  string // "dial", "handshake", "login"
	Target string
	Err    error
}

func (e *StageError) Error() string { return e.Stage + " " + e.Target + ": " + e.Err.Error() }
func (e *StageError) Unwrap() error { return e.Err }
