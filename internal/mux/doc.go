// Package mux is the SSH connection protocol (RFC 4254), both halves: channels,
// flow control, channel requests and global requests over one PacketConn.
//
// New starts a Mux, whose reader goroutine is the only one that reads from the
// PacketConn and never waits for user code. Open and Pending.Accept give
// Channels, which are net.Conns with CloseWrite; ReadFrom and WriteTo are their
// fast paths to and from sockets (ARCHITECTURE.md, section 2).
//
// The package knows no channel type: what a direct-tcpip or a session means is
// for the layers above.
package mux
