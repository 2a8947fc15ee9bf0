// Package rawpipe is what adit's verbs do when they are somebody's ProxyCommand:
// standard input and output become the way to a server, byte for byte.
//
// Pipe.Run keeps the rules that SSH clients expect of such a program. Standard
// output carries the server's bytes and nothing before them. A client that goes
// away ends it at once, whatever the connection is doing. A server that can't be
// reached is told to the person by the only way that every client shows: an SSH
// version line and an SSH_MSG_DISCONNECT with the reason (AppendDisconnect).
//
// It knows no address, no flag and no environment: how the server is reached is
// its caller's.
package rawpipe
