// Package ssm reaches TCP ports through AWS Session Manager, natively: neither
// the aws command nor session-manager-plugin is needed.
//
// Load finds credentials, region and endpoints as AWS's own tools do. A Service
// then dials (Dial: a port of a managed node, or of a host that the node reaches),
// forwards many connections over one session (Tunnel), lists nodes (Nodes, Tags), and
// lets a key log in for a minute (Push).
//
// What it returns survives the hourly end of each WebSocket, network outages of
// minutes, and what else is lost on the way. It can't half-close: the protocol
// has nothing for it.
//
// It is the only package with AWS's libraries, and nothing but cmd/adit imports
// it. The protocol itself is internal/ssmsession.
package ssm
