package sshconfig

import (
	"maps"
	"strings"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// SessionEnv returns what a session's environment is asked to have, as name=value:
// those of environ that SendEnv names, then SetEnv (clientloop.c,
// client_session2_setup).
func (c *Config) SessionEnv(environ []string) []string {
	var env []string
	for _, e := range environ {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" {
			continue
		}
		for _, pattern := range c.SendEnv {
			if wildcard.Match(pattern, name) {
				env = append(env, e)
				break
			}
		}
	}
	return append(env, c.SetEnv...)
}

// TermName returns the type of terminal to ask for: that of SetEnv, or the
// environment's TERM.
func (c *Config) TermName(getenv func(string) string) string {
	for _, e := range c.SetEnv {
		if name, ok := strings.CutPrefix(e, "TERM="); ok {
			return name
		}
	}
	return getenv("TERM")
}

// EscapeByte returns EscapeChar as the byte that a terminal sends for it; false
// for none.
func (c *Config) EscapeByte() (b byte, ok bool) {
	for b := range 256 {
		if visible(byte(b)) == c.EscapeChar { // as it is kept
			return byte(b), true
		}
	}
	return 0, false
}

// ExpandLocalCommand puts in place the tokens of LocalCommand: all that there
// are, and %T, the network tunnel, which is NONE.
func (c *Config) ExpandLocalCommand() (string, error) {
	t := maps.Clone(c.tokens)
	t['T'] = "NONE"
	return expand(c.LocalCommand, t, nil)
}
