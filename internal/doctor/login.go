package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/trace"
)

// checkLogin tells each attempt and whether the server let us in.
func (e *exam) checkLogin() {
	var attempts []Check
	var last trace.Record
	for _, r := range e.records() {
		switch a := r.Event.(type) {
		case trace.KexDone:
			last = r
		case trace.AuthAttempt:
			method, _, _ := strings.Cut(a.Method, "-hostbound")
			c := Check{Stage: StageLogin, Subject: method, Status: OK, Took: r.Time.Sub(last.Time), Text: attemptText(a)}
			if a.Key != "" {
				c.Subject += " " + strings.TrimSpace(e.keys[a.Key]+" "+a.Key)
			}
			switch {
			case a.Result != "failure" || a.Method == "none":
			case e.client == nil:
				c.Status = Failed
			default:
				c.Status, c.Text = Skipped, "refused; the next one was tried"
			}
			attempts, last = append(attempts, c), r
		}
	}
	for _, a := range attempts {
		e.add(a)
	}
	var notes []string
	for _, n := range e.notices {
		notes = append(notes, strings.TrimPrefix(n, "warning: "))
	}
	if e.client != nil {
		e.add(Check{Stage: StageLogin, Status: OK, Text: "logged in as " + e.client.User(), Details: notes})
		return
	}
	ae, denied := errors.AsType[*adit.AuthError](e.err)
	if !denied {
		e.notReached(StageLogin, StageHostKey, "the login did not come to its end")
		return
	}
	c := Check{Stage: StageLogin, Status: Failed, Text: fmt.Sprintf("permission denied for %q", ae.User), Details: slices.Concat(notes, ae.Notes)}
	if len(ae.Remaining) > 0 {
		c.Details = append(c.Details, "the server takes: "+oneLine(strings.Join(ae.Remaining, ", ")))
	}
	keys := slices.ContainsFunc(ae.Tried, func(t string) bool { return strings.HasPrefix(t, "publickey ") })
	prompts := slices.DeleteFunc(slices.Clone(ae.Remaining), func(m string) bool { return m != "password" && m != "keyboard-interactive" })
	switch {
	case ae.Err != nil:
		c.Details = append(c.Details, oneLine(ae.Err.Error()))
		c.Meaning = "the server had enough of our attempts"
		c.Fix = "name the right key with IdentityFile and set IdentitiesOnly yes, so that the agent's other keys are not tried"
	case keys:
		c.Meaning = "the server knows none of the keys above for this user"
		c.Fix = fmt.Sprintf("is %q the right user? Is one of these keys in its authorized_keys there? Name another with IdentityFile, or -i FILE", ae.User)
	default:
		c.Meaning = "there was no key to show"
		c.Fix = "name one with IdentityFile, or -i FILE; or start an agent and add one: ssh-add FILE"
	}
	if len(prompts) > 0 {
		c.Fix += "; adit ssh would also ask for what " + strings.Join(prompts, " and ") + " wants, which was not asked here"
	}
	e.add(c)
}

func attemptText(a trace.AuthAttempt) string {
	switch {
	case a.Result == "success":
		return "accepted"
	case a.Result == "key accepted":
		return "the server would take it"
	case a.Result == "partial":
		return "right, but the server wants more: " + oneLine(strings.Join(a.CanContinue, ", "))
	case a.Method == "none":
		return "asked what the server takes: " + oneLine(strings.Join(a.CanContinue, ", "))
	}
	return "refused"
}
