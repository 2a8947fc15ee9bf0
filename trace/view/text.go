package view

import (
	"strconv"
	"time"

	"github.com/adit-ssh/adit/trace"
)

// text is a peer's text, safe to print: printable ASCII, quoted if it would not
// be so as it is, and cut when long.
func text(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || i > maxLabel {
			return trace.FieldText(trace.Field{Value: s})
		}
	}
	return s
}

// maxLabel is how long a text may be that is shown whole, in bytes.
const maxLabel = 200

// Bytes is a number of bytes for people: "1.1 MiB".
func Bytes(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), 0
	for v >= 1024 && unit < 4 {
		v, unit = v/1024, unit+1
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + [...]string{"", "KiB", "MiB", "GiB", "TiB"}[unit]
}

// clock is a time since the trace began, in seconds.
func clock(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }

// Span is a duration for people: "15 us", "0.24 ms", "12.3 ms", "1.52 s".
func Span(d time.Duration) string {
	ms := float64(d.Microseconds()) / 1000
	switch {
	case ms < 0.1:
		return strconv.FormatInt(d.Microseconds(), 10) + " us"
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(ms/1000, 'f', 2, 64) + " s"
}
