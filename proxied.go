package adit

import (
	"net"
	"time"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/proxied"
	"github.com/adit-ssh/adit/internal/transport"
)

// secured is what a Client needs of its connection besides packets.
type secured interface {
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	Versions() (local, server string)
	Algorithms() transport.Algorithms
	HostKey() []byte
	SessionID() []byte
	HostKeySignature() []byte
	PeerExtension(name string) ([]byte, bool)
	Prefers() (Preference, bool)
	Rekey()
	Silent() time.Duration
	Lost(error)
}

// NewProxiedClient makes a Client of a connection to the master of a shared one,
// which has agreed to be a proxy (ssh -O proxy; OpenSSH, PROTOCOL.mux, section 9).
// The Client owns nc, and need not log in. user is what User returns.
//
// It has channels of its own and knows nothing of the connection that the master
// has: no host key, session id or algorithms, and Rekey does nothing. OpenSSH's
// master passes no answers to global requests on, and ends a proxy client for others
// than tcpip-forward: Listen and remote forwards wait in vain there.
func NewProxiedClient(nc net.Conn, user string, cfg *Config) *Client {
	c := &Client{t: proxiedConn{nc}, cfg: cfg, user: user}
	c.m = mux.New(proxied.New(nc), mux.Config{Tracer: cfg.Tracer, Open: c.opened})
	return c
}

// proxiedConn is a connection that is secured by somebody else.
type proxiedConn struct{ net.Conn }

func (proxiedConn) Versions() (local, server string)    { return "", "" }
func (proxiedConn) Algorithms() transport.Algorithms    { return transport.Algorithms{} }
func (proxiedConn) HostKey() []byte                     { return nil }
func (proxiedConn) SessionID() []byte                   { return nil }
func (proxiedConn) HostKeySignature() []byte            { return nil }
func (proxiedConn) PeerExtension(string) ([]byte, bool) { return nil, false }
func (proxiedConn) Prefers() (Preference, bool)         { return Preference{}, false }
func (proxiedConn) Rekey()                              {}
func (proxiedConn) Silent() time.Duration               { return 0 }
func (proxiedConn) Lost(error)                          {}
