package userauth

import (
	"context"
	"errors"

	"github.com/adit-ssh/adit/internal/wire"
)

// PacketConn is what authentication needs of the transport. Messages of the
// transport itself never appear here.
type PacketConn interface {
	// ReadPacket returns the next payload, valid until the next call.
	ReadPacket() ([]byte, error)
	// WritePacket queues a copy of one message. While there is no room it
	// waits, until cancel is closed.
	WritePacket(p []byte, cancel <-chan struct{}) error
	// Unimplemented answers the packet last read with UNIMPLEMENTED.
	Unimplemented() error
	// Cork holds messages back, Uncork sends them together.
	Cork()
	Uncork() error
	// SessionID returns the exchange hash of the first key exchange.
	SessionID() []byte
	// HostKey returns the server's host key of the first key exchange.
	HostKey() []byte
	// PeerExtension returns a value of the EXT_INFO that came so far.
	PeerExtension(name string) ([]byte, bool)
	// Abort sends DISCONNECT, closes, and returns the error to hand on. It may
	// be called by anybody, and makes ReadPacket return.
	Abort(reason uint32, text string) error
}

// Limits on a peer.
const (
	// maxBanners and maxBannerBytes bound a server's banners: how many, and
	// bytes in all. OpenSSH sends one, of up to 1 MiB in theory.
	maxBanners     = 32
	maxBannerBytes = 1 << 20
	// maxUnrelated is how many messages that mean nothing here are answered
	// with UNIMPLEMENTED in one authentication.
	maxUnrelated = 64
	// maxRounds is how many rounds of questions one keyboard-interactive
	// request may have.
	maxRounds = 32
	// maxChanges is how often a server may ask for another new password.
	maxChanges = 5
	// maxRequests is how many requests a client sends, and a server answers.
	// Servers count failures, and end it much earlier.
	maxRequests = 128
	// maxUser is the longest user name that a server accepts, in bytes.
	maxUser = 255
	// DefaultMaxTries is how many failures a server allows, as OpenSSH does.
	DefaultMaxTries = 6
	// DefaultTries is how often a client asks a person for a password.
	DefaultTries = 3
)

// signedData is what a public key request signs (RFC 4252, section 7): the
// session id and the request up to the signature.
func signedData(sessionID []byte, user, method string, body *wire.PublickeyBody) []byte {
	r := wire.UserauthRequest{User: user, Service: wire.ServiceConnection, Method: method, Body: body.AppendUnsigned(nil)}
	return r.Append(wire.AppendString(nil, sessionID))
}

// baseMethod returns the method's name in lists: hostbound is publickey there.
func baseMethod(method string) string {
	if method == wire.MethodHostbound {
		return wire.MethodPublickey
	}
	return method
}

// watch aborts pc when ctx ends. The function that it returns stops that, and
// returns ctx's cause if it was too late.
func watch(ctx context.Context, pc PacketConn, reason uint32) (stop func() error) {
	ended := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(ended)
		text := "authentication was cancelled"
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			text = "authentication took too long"
		}
		_ = pc.Abort(reason, text) // ctx's cause is what is handed on
	})
	return func() error {
		if cancel() {
			return nil
		}
		<-ended
		return context.Cause(ctx)
	}
}
