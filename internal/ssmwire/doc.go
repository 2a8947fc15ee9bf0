// Package ssmwire is the bytes of AWS Session Manager's data channel: the binary
// frame, and the JSON that some frames and the first text message carry. It is
// pure: no I/O, no clock, no state.
//
// The protocol has no public specification; it is what AWS's amazon-ssm-agent
// (agent/session/contracts) and session-manager-plugin speak. Parse and
// Frame.Append are where to begin. Package internal/ssmsession is the protocol's
// state, package dial/ssm how a session is had.
package ssmwire
