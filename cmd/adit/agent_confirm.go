//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/agent"
)

// confirm asks a person through SSH_ASKPASS (ssh-agent.c, confirm_key).
func (a *agentArgs) confirm(ctx context.Context, c agent.Confirmation) bool {
	if _, may := askpassRules(os.Getenv); !may {
		return false
	}
	answer, ok, err := askpass(ctx, a.question(c), "SSH_ASKPASS_PROMPT=confirm")
	return err == nil && ok && (answer == "" || strings.EqualFold(answer, "yes"))
}

// question is what a person has to know to say yes: which key, and for what.
func (a *agentArgs) question(c agent.Confirmation) string {
	return fmt.Sprintf("Allow use of key %s?\nKey fingerprint %s.", printable(c.Comment), a.fingerprint(c.Key)) + a.purpose(c)
}

// purpose is what for, and for whom, a key is to be used: a line of its own.
func (a *agentArgs) purpose(c agent.Confirmation) (text string) {
	switch {
	case c.User != "" && c.Host != nil:
		text += fmt.Sprintf("\nIt is to log in as %s at %s", printable(c.User), a.hostText(c.Host))
	case c.User != "":
		text += fmt.Sprintf("\nIt is to log in as %s at a host that is not known", printable(c.User))
	case c.Namespace != "":
		text += fmt.Sprintf("\nIt is to sign something for %q", printable(c.Namespace))
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
	names, more := a.guard.hosts.Names(key)
	switch {
	case len(names) == 0 && more:
		return "a host whose name known_hosts does not tell (" + print + ")"
	case len(names) == 0:
		return "a host that is not in known_hosts (" + print + ")"
	}
	shown := printable(strings.Join(names[:min(len(names), maxHostNames)], ", "))
	if len(names) > maxHostNames {
		shown += "…"
	}
	return shown + " (" + print + ")"
}

// maxHostNames is how many of a host's names a person is told.
const maxHostNames = 3
