package ssm

import (
	"errors"
	"strings"
	"testing"
)

// Who has to log in again is told how, while the session can still be saved.
func TestWaitingTellsWhatToDo(t *testing.T) {
	said := ""
	o := &Options{Target: "web", Notice: func(text string) { said = text }}
	o.waiting()(&Error{Stage: "ssm:ResumeSession", Err: errors.New("the SSO session has expired"), profile: "work"})
	for _, want := range []string{"the session with web has lost its connection", "the login at AWS (SSO) has expired", "aws sso login --profile work"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q: %q", want, said)
		}
	}
	if o.Notice = nil; o.waiting() != nil {
		t.Error("nobody wants to know, and is told")
	}
}
