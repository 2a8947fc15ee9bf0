// Package userauth is the SSH authentication protocol (RFC 4252, RFC 4256),
// client and server half, with OpenSSH's host-bound public key method
// (PROTOCOL, section 3.1).
//
// Client runs over a transport after its first key exchange and returns when
// the server lets the user in; Server does the same for the other side. Neither
// knows files, agents or terminals: keys come as signers, passwords and answers
// through callbacks, and who may log in is the caller's decision. Package
// authkeys makes such decisions from authorized_keys files.
//
// Texts from the peer (banners, prompts) are handed on as they came: clean them
// before a terminal sees them. Secrets never get into errors or events, and the
// buffers in which they were are cleared.
package userauth
