// Package userauth is the SSH authentication protocol (RFC 4252, RFC 4256),
// client and server half, with OpenSSH's host-bound public key method
// (PROTOCOL, section 3.1).
//
// Client runs over a transport after its first key exchange and returns when the
// server lets the user in; Server does the same for the other side. Neither
// knows files, agents or terminals: keys come as signers, passwords and answers
// through callbacks, and decisions are the caller's.
package userauth

import (
	"github.com/adit-ssh/adit/internal/wire"
)

// PacketConn is what authentication needs of the transport.
type PacketConn interface {
	// ReadPacket returns the next payload, valid until the next call.
	ReadPacket() ([]byte, error)
	// WritePacket queues a copy of one message.
	WritePacket(p []byte, cancel <-chan struct{}) error
	// Unimplemented answers the packet last read.
	Unimplemented() error
	// Cork holds messages back until Uncork.
	Cork()
	Uncork() error
	// SessionID returns the exchange hash of the first key exchange.
	SessionID() []byte
	// HostKey returns the server's host key of the first key exchange.
	HostKey() []byte
	// PeerExtension returns a value of the peer's EXT_INFO.
	PeerExtension(name string) ([]byte, bool)
	// Abort sends DISCONNECT and closes; it returns the error to hand on.
	Abort(reason uint32, text string) error
}

// Limits on a peer.
const (
	// maxBanners and maxBanner bound a server's banners: how many, and bytes in
	// all.
	maxBanners = 32
	maxBanner  = 64 << 10
	// maxRounds is how many rounds of questions one keyboard-interactive
	// attempt may have.
	maxRounds = 16
	// maxAttempts is how many requests a client sends before it gives up.
	maxAttempts = 100
	// DefaultMaxTries is how often a server lets a client try.
	DefaultMaxTries = 6
	// maxProbes is how many messages without a try in them a server accepts.
	maxProbes = 100
)

// signedData is what a public key request signs (RFC 4252, section 7): the
// session id and the request up to the signature.
func signedData(sessionID []byte, user, service, method string, body *wire.PublickeyBody) []byte {
	b := wire.AppendString(nil, sessionID)
	r := wire.UserauthRequest{User: user, Service: service, Method: method, Body: body.AppendUnsigned(nil)}
	return r.Append(b)
}
