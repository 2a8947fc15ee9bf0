// Package transport is the SSH transport layer (RFC 4253), client and server
// half: version lines, algorithm negotiation, key exchange, the packet pipeline,
// rekeying, strict key exchange (OpenSSH PROTOCOL, section 1.10) and extension
// negotiation (RFC 8308).
//
// Client and Server perform the handshake over a net.Conn and return a Conn.
// What is above exchanges whole payloads with it: ReadPacket, WritePacket and,
// for bulk data, WriteBatch. The transport's own messages never reach the
// layers above. It knows nothing of users, channels or files.
//
// The data path is drawn in ARCHITECTURE.md, section 2; the goroutine census is
// on Conn.
package transport
