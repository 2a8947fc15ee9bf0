// Package trace holds what adit's layers tell about themselves: typed events,
// the Tracer that receives them, and those who print or keep them: NewText
// prints a line an event, a Recorder keeps the last ones, a File writes them in a
// Format (JSON lines, text; package pcapng has another), and a Reader reads the
// JSON lines back. Package view shows what was read.
//
// Libraries here do not log. They emit events through a Tracer, and a nil
// Tracer costs one branch. Events never hold secrets: messages are redacted by
// their own marks (wire.Redact) where the event is built, so that no sink can
// leak what it was never given.
package trace
