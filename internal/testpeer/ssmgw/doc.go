// Package ssmgw is a stand-in for AWS Session Manager: the gateway with its HTTP
// API and WebSocket, and a simulated amazon-ssm-agent behind it that dials real
// TCP and keeps to the habits of AWS's own, the odd ones included.
//
// Gateway is the service; its Faults say how it misbehaves. Serve puts it on
// loopback; Open connects to it in memory, for tests on a synthetic clock.
//
// What it knows of the protocol is its own: if it used our code, it would share
// our mistakes. Only tests and benchmarks import it.
package ssmgw
