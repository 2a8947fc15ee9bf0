package ssm

import (
	"errors"
	"fmt"
)

// waiting tells the person of a session that has no connection for a while, and
// what to do: a login that has expired can be renewed meanwhile.
func (o *Options) waiting() func(err error) {
	if o.Notice == nil {
		return nil
	}
	notice, target := o.Notice, o.Target
	return func(err error) {
		text := fmt.Sprintf("the session with %s has lost its connection; it is tried for 5 minutes to get it back: %v", target, err)
		if e, ok := errors.AsType[*Error](err); ok && e.Hint() != "" {
			text += "; " + e.Hint()
		}
		notice(printable(text))
	}
}
