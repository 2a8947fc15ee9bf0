package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/adit-ssh/adit"
)

// Confirmer is a Prompter that can ask for yes or no without the terminal, which
// may belong to somebody else by then (ssh_config: AddKeysToAgent ask).
type Confirmer interface {
	Confirm(ctx context.Context, question string) (yes bool, err error)
}

// asks reports whether there may be questions.
func (o *Options) asks() bool { return !o.BatchMode && o.Prompter != nil }

// who is how questions name the login: without the port, and by HostKeyAlias
// (OpenSSH, sshconnect2.c, userauth_passwd).
func (o *Options) who() string {
	target, _ := o.Target()
	name, _, _ := strings.Cut(target, "@"+bracketed(o.Host))
	return name + "@" + cmp.Or(o.HostKeyAlias, o.Host)
}

// bracketed is a host as it stands before a port.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// password asks in OpenSSH's words, which scripts wait for.
func (o *Options) password(ctx context.Context) (string, error) {
	if o.passwords++; o.passwords > 1 {
		o.say(levelError, "Permission denied, please try again.")
	}
	return o.mustAsk(ctx, o.who()+"'s password: ", false)
}

// newPassword asks for what a change of password needs, as OpenSSH does.
func (o *Options) newPassword(ctx context.Context, prompt string) (old, new string, err error) {
	if prompt != "" {
		o.say(levelInfo, "%s", printable(prompt))
	}
	if old, err = o.mustAsk(ctx, "Enter "+o.who()+"'s old password: ", false); err != nil {
		return "", "", err
	}
	for {
		if new, err = o.mustAsk(ctx, "Enter "+o.who()+"'s new password: ", false); err != nil {
			return "", "", err
		}
		again, err := o.mustAsk(ctx, "Retype "+o.who()+"'s new password: ", false)
		if err != nil {
			return "", "", err
		}
		if again == new {
			return old, new, nil
		}
		o.say(levelError, "Mismatch; try again, EOF to quit.")
	}
}

// answer asks a server's questions, each with the login's name before it, so
// that nobody takes it for a question of their own machine.
func (o *Options) answer(ctx context.Context, name, instruction string, prompts []adit.Prompt) ([]string, error) {
	for _, text := range []string{name, instruction} {
		if text != "" {
			o.say(levelInfo, "%s", printable(text))
		}
	}
	var answers []string
	for _, p := range prompts {
		a, err := o.mustAsk(ctx, "("+o.who()+") "+printable(p.Text), p.Echo)
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// errNobody is a question that reached nobody.
var errNobody = errors.New("nobody answers; it takes a terminal, or SSH_ASKPASS with DISPLAY or SSH_ASKPASS_REQUIRE=force, for")

// mustAsk asks. When nobody answers, the error is errNobody and adit.ErrSkip.
func (o *Options) mustAsk(ctx context.Context, question string, echo bool) (string, error) {
	a, ok, err := o.Prompter.Ask(ctx, question, echo)
	if err == nil && !ok {
		err = &unaskedError{question}
	}
	return a, err
}

// unaskedError is a question without an answer.
type unaskedError struct{ question string }

func (e *unaskedError) Error() string   { return fmt.Sprintf("%v %q", errNobody, e.question) }
func (e *unaskedError) Unwrap() []error { return []error{errNobody, adit.ErrSkip} }

// printable makes a server's text fit for a terminal; lines stay. What turns the
// direction of writing would show other words than there are.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r < ' ', r >= 0x7f && r < 0xa0, unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}
