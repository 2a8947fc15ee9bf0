// Package wire encodes and decodes the messages of the SSH protocol.
//
// It holds one struct for each message of RFC 4250, 4252, 4253, 4254, 4256 and
// 8308, and of the OpenSSH extensions that adit speaks. It does no I/O and
// keeps no state. Numbers 30-49 and 60-79 mean different things in different
// phases of a connection, so Decode takes the Phase in which a message came.
//
// Entry points: Decode for a whole payload, Msg.Append to encode, Parser and
// the Append functions for the bodies that messages carry (open data, request
// data). ChannelData and ChannelWindowAdjust have allocation-free twins in
// fast.go for the data path.
//
// Slices in a decoded message share the payload's memory: copy what outlives
// it. Fields that hold secrets are marked by the Redactor interface, which
// returns a copy without them; package trace uses nothing else.
package wire
