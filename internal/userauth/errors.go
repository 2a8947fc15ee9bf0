package userauth

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrSkip is returned by Password, or Answer, to leave its method out; where the
// server waits for answers the login ends with it, as an AuthError. Other errors
// end the login as what they are. Errors may wrap it with the reason.
var ErrSkip = errors.New("not available")

// AuthError says that the server did not let us in.
type AuthError struct {
	User      string
	Tried     []string // methods and keys, in order
	Remaining []string // methods that the server would still take
	Notes     []string // why keys and methods could not be used
	// Err is set when the connection ended before we had tried everything: by
	// the server's DISCONNECT after too many failures, for example.
	Err error
}

func (e *AuthError) Unwrap() error { return e.Err }

// Error tells what was tried and what the server would take.
func (e *AuthError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "permission denied for user %q: ", e.User)
	if len(e.Tried) > 0 {
		s.WriteString("tried " + strings.Join(counted(e.Tried), ", "))
	} else {
		s.WriteString("there was nothing to try")
	}
	switch {
	case e.Err != nil:
		s.WriteString("; then " + e.Err.Error())
	case len(e.Remaining) > 0:
		s.WriteString("; the server takes " + strings.Join(e.Remaining, ","))
	default:
		s.WriteString("; the server takes nothing more")
	}
	if len(e.Notes) > 0 {
		s.WriteString(" (" + strings.Join(e.Notes, "; ") + ")")
	}
	return s.String()
}

// counted returns list with runs of the same text written once, with their
// number.
func counted(list []string) []string {
	var out []string
	for len(list) > 0 {
		n := slices.IndexFunc(list, func(s string) bool { return s != list[0] })
		if n < 0 {
			n = len(list)
		}
		if n > 1 {
			out = append(out, list[0]+" ("+strconv.Itoa(n)+" times)")
		} else {
			out = append(out, list[0])
		}
		list = list[n:]
	}
	return out
}

// oneLine makes a key's comment, which may come from an agent, fit for a
// message.
func oneLine(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "..."
	}
	if q := strconv.QuoteToGraphic(s); q != `"`+s+`"` {
		return q
	}
	return s
}
