// Package agent speaks the SSH agent protocol (RFC 9987; OpenSSH's
// PROTOCOL.agent and ssh-agent.c) in all its roles.
//
// Client asks an agent. Dialer connects to one and binds each connection to the
// SSH session that it is for. Forwarder serves the channels by which programs at
// a server use an agent of ours. Keyring holds keys, with lifetimes, confirmation
// and destination constraints, Tokens those in security keys and PKCS#11 tokens, Proxy
// asks other agents for theirs, and Server lets others use any of them.
//
// An agent connection has a memory: the sessions that were bound to it, by which
// the agent knows for which hosts, and along which way, a signature is wanted. So
// a connection is never shared: each login and each forwarded channel has its
// own, and the binding is the first message on it. Whoever reuses one breaks the
// next login, or has keys used where they must not be.
//
// It knows no SSH connection: a Session is three byte strings, a channel is a
// net.Conn with CloseWrite.
package agent
