//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/agent"
)

// confirm asks a person through SSH_ASKPASS (ssh-agent.c, confirm_key): one question at
// a time, however many signatures somebody wants at once.
func (a *agentArgs) confirm(ctx context.Context, c agent.Confirmation) bool {
	if _, may := askpassRules(os.Getenv); !may {
		return false
	}
	select {
	case a.asking <- struct{}{}:
		defer func() { <-a.asking }()
	case <-ctx.Done():
		return false
	}
	answer, ok, err := askpass(ctx, a.question(c), "SSH_ASKPASS_PROMPT=confirm")
	return err == nil && ok && (answer == "" || strings.EqualFold(answer, "yes"))
}

// question is what a person has to know to say yes: which key, and for what.
func (a *agentArgs) question(c agent.Confirmation) string {
	return fmt.Sprintf("Allow use of key %s?\nKey fingerprint %s.", word(c.Comment), a.fingerprint(c.Key)) + a.purpose(c)
}

// purpose is what for, and for whom, a key is to be used: a line of its own.
func (a *agentArgs) purpose(c agent.Confirmation) (text string) {
	switch {
	case c.User != "" && c.Host != nil:
		text += fmt.Sprintf("\nIt is to log in as %s at %s", word(c.User), a.hostText(c.Host))
	case c.User != "":
		text += fmt.Sprintf("\nIt is to log in as %s at a host that is not known", word(c.User))
	case c.Namespace != "":
		text += fmt.Sprintf("\nIt is to sign something for %s", strconv.Quote(cut(c.Namespace)))
	default:
		text += "\nIt is to sign something that is no login"
	}
	if c.Astray {
		text += ", and it can't be told for whom"
	}
	if len(c.Hops) > 0 {
		var hops []string
		for _, key := range c.Hops {
			hops = append(hops, a.hostText(key))
		}
		text += ", asked for over " + strings.Join(hops, " and then ")
	}
	return text + "."
}

// maxWord is how much a person is shown of what somebody else calls something, in
// characters.
const maxWord = 80

// word shows what somebody else calls something so that it can't be taken for our own
// words, or hide them: what has more than letters, digits and the usual signs of names
// stands in quotes.
func word(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@._-+/\\$:[]", r)
	}
	s = cut(s)
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// cut shortens a text to maxWord.
func cut(s string) string {
	n := 0
	for i := range s {
		if n == maxWord {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// keyText is the fingerprint of a host's key.
func (a *agentArgs) keyText(blob []byte) string {
	key, err := gossh.ParsePublicKey(blob)
	if err != nil {
		return agent.Fingerprint(blob)
	}
	return a.fingerprint(key)
}

func (a *agentArgs) fingerprint(key gossh.PublicKey) string {
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key // as OpenSSH has it
	}
	if a.md5 {
		return "MD5:" + gossh.FingerprintLegacyMD5(key)
	}
	return gossh.FingerprintSHA256(key)
}

// hostText is what a person is told of a host: its names, as far as known_hosts has
// them, and its key.
func (a *agentArgs) hostText(key []byte) string {
	print := a.keyText(key)
	names, others := a.guard.hosts.Names(key)
	switch {
	case len(names) == 0 && others:
		return "a host whose name known_hosts does not tell (" + print + ")"
	case len(names) == 0:
		return "a host that is not in known_hosts (" + print + ")"
	}
	var shown []string
	for _, name := range names[:min(len(names), maxHostNames)] {
		shown = append(shown, word(name)) // a certificate's may be anything
	}
	more := ""
	if len(names) > maxHostNames {
		more = "…"
	}
	return strings.Join(shown, ", ") + more + " (" + print + ")"
}

// maxHostNames is how many of a host's names a person is told.
const maxHostNames = 3
