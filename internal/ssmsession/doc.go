// Package ssmsession is the state of one AWS Session Manager session of type
// Port, the client's half: a reliable byte stream to a TCP port of a managed
// node, over messages that may be lost with the WebSocket that carries them.
//
//	            Connect           handshake             channel_closed, Close
//	connecting ─────────► greeting ─────────► open ───────────────────────────► ended
//	                         ▲                 │ ▲                                ▲
//	                         └── resuming ◄────┘ │ the WebSocket ended            │
//	                                └────────────┘ Connect again ─── for too long ┘
//
// Start does the handshake; the Session is then a net.Conn. Each side numbers its
// messages and keeps them until they are acknowledged one by one, across as many
// WebSockets as it takes:
//
//	Write ─► queue ─► frame, at most chunk bytes ─► in flight, at most window bytes ─► acked
//	                                   ▲                 │ RTO, or later ones acked
//	                                   └───── lost ◄─────┘
//	Read ◄─ received, 4 MiB ◄─ reorder, 4 MiB ◄─ any frame, acked once it is in one of these
//
// It knows nothing of WebSockets, HTTP and AWS: Messages and Options.Connect are
// all that it sees, so that tests run it in memory and on a synthetic clock.
//
// What the protocol can't do: end one direction alone. There is no CloseWrite.
package ssmsession
