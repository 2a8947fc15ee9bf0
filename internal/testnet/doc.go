// Package testnet holds connections for tests: in memory, with the network's
// faults on request, and recorded ones.
//
// Pipe gives both ends of a connection in memory with bounded buffers,
// half-close, deadlines, delay and bandwidth. It uses no socket and no real
// clock of its own, so it works in testing/synctest bubbles. Its faults (Cut,
// Corrupt, Stall) are set on a Conn for the bytes that it sends. Listener
// accepts such connections.
//
// Record keeps what passes over a connection as a Transcript, a text file that
// Transcript.Replay plays back in place of the peer.
//
// Proxy is for benchmarks: a TCP proxy with a fixed one-way delay and, if
// wanted, a limited bandwidth.
//
// Serve and its kin are services on real sockets, for as long as a test runs; TCPPipe,
// SocketDir and FullBacklog are what else takes the system's network.
//
// It knows nothing of SSH.
package testnet
