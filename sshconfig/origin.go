package sshconfig

import (
	"errors"
	"fmt"
)

// Origin tells where a value comes from. The zero Origin is a default.
type Origin struct {
	File        string // as opened; "" when it is no file
	Line        int    // counts from 1
	CommandLine bool   // an option given by hand
}

// String returns "file:line", "command line" or "default".
func (o Origin) String() string {
	switch {
	case o.CommandLine:
		return "command line"
	case o.File != "":
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	}
	return "default"
}

// LineError is a mistake in a file or on the command line.
type LineError struct {
	Origin  Origin
	Keyword string // as written, in lower case; may be ""
	Err     error
	Hint    string // what to do about it; may be ""
}

// Error begins with the place.
func (e *LineError) Error() string {
	s := e.Origin.String() + ": "
	if e.Keyword != "" {
		s += e.Keyword + ": "
	}
	return s + e.Err.Error()
}

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

// Warning is something that does not keep a configuration from being used.
type Warning struct {
	Origin Origin
	Text   string
}

// String begins with the place.
func (w Warning) String() string {
	if w.Origin == (Origin{}) {
		return w.Text
	}
	return w.Origin.String() + ": " + w.Text
}

// withHint is an error that says what to do about it.
type withHint struct {
	error
	hint string
}

// Unwrap returns the error without the hint.
func (e withHint) Unwrap() error { return e.error }

// Hint says what to do, as one line to read or to paste.
func (e withHint) Hint() string { return e.hint }

func lineError(from Origin, keyword string, err error) *LineError {
	e := &LineError{Origin: from, Keyword: keyword, Err: err}
	if h, ok := errors.AsType[withHint](err); ok {
		e.Hint = h.hint
	}
	return e
}
