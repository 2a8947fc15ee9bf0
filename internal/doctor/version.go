package doctor

import (
	"errors"
	"fmt"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/trace"
)

// libsshLine is the longest line, in bytes with CR LF, that libssh 0.10 accepts
// before a version line.
const libsshLine = 255

// greetingMeaning says what came where it may come from an SSH server all the
// same.
var greetingMeaning = map[adit.Greeting]string{
	"silence":      "something accepts the connection there, and says nothing",
	"closed":       "something accepts the connection there, and ends it at once",
	"text":         "text came, and then nothing: that is no SSH server, or something stands before it",
	"text, closed": "text came in place of the server's version line, and then the end",
	"refusal":      "the server takes no connections from here for now",
	"SSH 1":        "the server speaks a version of SSH that nobody should use any more",
	"flood":        "what comes before the server's version line is more than any client takes",
	"echo":         "what we send comes back: there is a terminal, a shell or an echo service, and no SSH server",
}

// checkVersion tells how the server began.
func (e *exam) checkVersion() {
	c := Check{Stage: StageVersion, Status: OK}
	lines, longest := 0, 0
	for _, r := range e.records() {
		if b, ok := r.Event.(trace.BannerLine); ok {
			if lines++; lines <= 3 {
				c.Details = append(c.Details, "before it: "+oneLine(b.Text))
			}
			longest = max(longest, b.Size+2)
		}
	}
	if lines > 3 {
		c.Details = append(c.Details, fmt.Sprintf("and %d lines more", lines-3))
	}
	v, at, ok := event[trace.Version](e)
	ve, wrong := errors.AsType[*adit.VersionError](e.err)
	switch {
	case wrong:
		c.Status, c.Text, c.Took = Failed, oneLine(ve.Text), e.ended.Sub(e.connected)
		if len(c.Details) == 0 {
			for _, l := range ve.Lines {
				c.Details = append(c.Details, "it sent: "+oneLine(l))
			}
		}
		c.Meaning, c.Fix = greetingMeaning[ve.Greeting], ve.Hint()
		if c.Meaning == "" {
			c.Meaning = "what answers there is no SSH server"
		}
		e.wayEnded(&c, ve)
		if e.nested() != "" {
			c.Meaning, c.Fix = nestedMeaning, e.nestedFix()+" ("+e.from("ProxyCommand")+")"
		}
	case !ok:
		c.Status, c.Text, c.Took = Failed, oneLine(e.err.Error()), e.ended.Sub(e.connected)
		c.Meaning = "the connection ended before the server said who it is"
	default:
		e.warnNested()
		c.Text, c.Took = oneLine(v.Peer), at.Sub(e.connected)
		if e.o.GUI != nil && longest > libsshLine {
			c.Status = Warning
			c.Meaning = fmt.Sprintf("programs that use libssh stop at a line of more than %d bytes before the version line; there is one of %d", libsshLine, longest)
			c.Fix = "shorten what the server or the command on the way to it prints"
		}
	}
	e.add(c)
}

// Silencer is a way to a server that knows what it means when nothing comes, and
// what to do: one that stands before the server is reached.
type Silencer interface{ Silence() (meaning, fix string) }

// wayEnded tells what the way to the server says about its end or its silence, if
// it is one that knows: AWS's agent is far from the server's port.
func (e *exam) wayEnded(c *Check, ve *adit.VersionError) {
	if s, ok := e.way.(Silencer); ok && ve.Greeting == "silence" {
		c.Meaning, c.Fix = s.Silence()
	}
	reason, ok := errors.AsType[interface {
		error
		Hint() string
	}](ve.Err)
	if !ok {
		return
	}
	c.Details = append(c.Details, oneLine(reason.Error()))
	if h := reason.Hint(); h != "" {
		c.Meaning, c.Fix = "the way to the server works, and ended before the server spoke", h
	}
}
