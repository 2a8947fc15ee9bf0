// Package adit reaches what only an SSH server can reach.
//
// Dial connects to an SSH server and returns a Client. Its DialContext gives a
// net.Conn to anything that the server can reach, with deadlines and CloseWrite
// and no listener in between, so that it fits http.Transport.DialContext, pgx's
// DialFunc and their like. Listen gives a net.Listener at the server. Forward
// listens, on either side, for programs that can't be given a dialer. SSH gives a golang.org/x/crypto/ssh Client on the same
// connection, for sessions and sftp.
//
// Config has no default for trust: Dial needs a CheckHostKey, such as the
// CheckHostKey method of a knownhosts.DB, or FixedHostKey.
package adit
