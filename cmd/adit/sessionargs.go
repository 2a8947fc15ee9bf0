package main

import (
	"errors"
	"slices"
)

// applySession reads flags whose meaning depends on others, and those that need
// what we don't have. done is false where flagRules say the rest.
func (a *sshArgs) applySession(o option) (done bool, err error) {
	has := func(line string) bool { return slices.Contains(a.overrides, line) }
	switch o.letter {
	case '1':
		return true, errors.New("SSH protocol v.1 is no longer supported")
	case '2':
		return true, nil
	case 't': // twice: also without a terminal of our own
		if has("RequestTTY=yes") {
			a.overrides = append([]string{"RequestTTY=force"}, a.overrides...)
			return true, nil
		}
	case 'N':
		if has("SessionType=subsystem") {
			return true, errors.New("Cannot specify -N with -s/SessionType") //lint:ignore ST1005 OpenSSH's words
		}
	case 's':
		if has("SessionType=none") {
			return true, errors.New("Cannot specify -s with -N/SessionType") //lint:ignore ST1005 OpenSSH's words
		}
	case 'I':
		a.lacking = append(a.lacking, "no support for PKCS#11.")
	}
	return false, nil
}
