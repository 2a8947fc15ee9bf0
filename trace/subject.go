package trace

import "github.com/adit-ssh/adit/internal/wire"

// Subject says what a channel is about, in the words of its CHANNEL_OPEN. Nil
// is a Subject of which nothing is known.
type Subject []Field

// SubjectOf returns what an open of a channel type with this data is about.
func SubjectOf(channelType string, data []byte) Subject {
	var f fields
	f.body(wire.OpenBody(channelType), data)
	return Subject(f)
}

// Target is the host and port, or the path, to connect to; "" without one.
func (s Subject) Target() string { return (&Entry{Fields: s}).Target() }

// Originator is where the connection comes from, as host:port, or "".
func (s Subject) Originator() string { return (&Entry{Fields: s}).Originator() }
