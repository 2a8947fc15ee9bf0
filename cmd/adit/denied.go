package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/adit-ssh/adit"
)

// deniedLine is the line that OpenSSH ends with when a server lets nobody in,
// and that scripts look for: "user@host: Permission denied (methods)." Empty for
// other errors, and where the server ended the connection first.
func deniedLine(err error) string {
	stage, ok := errors.AsType[*adit.StageError](err)
	e, denied := errors.AsType[*adit.AuthError](err)
	if !ok || !denied || e.Err != nil {
		return ""
	}
	who := stage.Target
	if i := strings.LastIndexByte(who, ':'); i >= 0 {
		who = who[:i]
	}
	at := strings.LastIndexByte(who, '@') + 1
	who = who[:at] + strings.Trim(who[at:], "[]")
	return fmt.Sprintf("%s: Permission denied (%s).", who, printable(strings.Join(e.Remaining, ",")))
}

// printable leaves out what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s)
}

// loginEndedHint is for a server that hangs up in the middle of a login.
func loginEndedHint(err error) string {
	if stage, ok := errors.AsType[*adit.StageError](err); ok && stage.Stage == "login" && errors.Is(err, io.EOF) {
		return "the server gave up on the login: it may not wait so long for an answer (LoginGraceTime of sshd), or refuses this user or address; its log says which"
	}
	return ""
}

// authHint says what might help a login by key, which is what most servers want.
func authHint(e *adit.AuthError) string {
	var keys, fromAgent int
	for _, t := range e.Tried {
		if strings.HasPrefix(t, "publickey ") {
			keys++
		}
		if strings.HasPrefix(t, "publickey agent key ") {
			fromAgent++
		}
	}
	_, byServer := errors.AsType[*adit.DisconnectError](e.Err)
	switch {
	case e.Err != nil && keys > 2 && (byServer || strings.Contains(e.Err.Error(), "EOF")):
		return fmt.Sprintf("the server counts each key that is offered: it had %d, %d of them from the agent; name the right one with -i FILE and leave out the others with -o IdentitiesOnly=yes", keys, fromAgent)
	case slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, " does not sign: ") }):
		return "the server would take that key: add it to an agent with ssh-add FILE, or connect from a terminal, where its passphrase is asked for"
	case keys > 0:
		return "is that the right user, and one of these keys in the user's authorized_keys on the server? Name another key with -i FILE"
	case !slices.Contains(e.Tried, "password") && slices.Contains(e.Remaining, "publickey"):
		return "name a key with -i FILE, or start an agent and add one: ssh-add FILE"
	}
	return ""
}
