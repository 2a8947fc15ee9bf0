// Package session is the client's side of a session (RFC 4254, section 6) on a
// channel that somebody opened: what is asked of the server before a command
// runs, the copying between the channel and standard streams, and how it ended.
// Beside it stands what a session with a pseudo-terminal needs of the person's
// own: Terminal (raw mode, its modes as the RFC writes them, its size) and
// Escapes (~. and the like).
//
// It prints nothing and knows no configuration. Start enters it:
//
//	Start -> pty-req, env…, exec | shell | subsystem, in one flight
//	Run   -> standard input  -> data, EOF
//	         data, stderr    -> standard output, standard error
//	         exit-status, exit-signal -> Exit
package session
