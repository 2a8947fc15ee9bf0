package knownhosts

import (
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// Update is how the files differ from what a server says its keys are (OpenSSH,
// clientloop.c, client_input_hostkeys).
type Update struct {
	New []gossh.PublicKey // the server's that no line of the host has
	Old []gossh.PublicKey // the host's lines' that the server does not have
	// Refused says why the files must stay as they are; empty if they need not.
	Refused string
}

// Changes reports whether there is something to learn or to forget.
func (u *Update) Changes() bool { return len(u.New)+len(u.Old) > 0 }

// Compare compares the lines of a host with a server's keys. address is the
// host's in the files' form, where lines by address count too (CheckHostIP);
// else empty. Lines that people wrote by hand (patterns, lists, markers) and keys
// that other names share are reasons to refuse.
func (db *DB) Compare(h Host, address string, keys []gossh.PublicKey) Update {
	var u Update
	seen := make([]bool, len(keys))
	name := h.String()
	index := func(k gossh.PublicKey) int {
		return slices.IndexFunc(keys, func(o gossh.PublicKey) bool { return same(o, k) })
	}
	refuse := func(why string) {
		if u.Refused == "" {
			u.Refused = why
		}
	}
	for i := range db.Entries {
		e := &db.Entries[i]
		byName := e.matches(name)
		byAddress := address != "" && e.matches(address)
		k := index(e.Key)
		switch {
		case !byName && !byAddress:
			if k >= 0 {
				refuse(e.Where() + " has one of its keys under another name")
			}
			continue
		case e.Marker != "":
			refuse(e.Where() + " has a marker")
			continue
		}
		if address != "" && strings.Contains(e.Patterns, ",") && !(byName && byAddress) {
			refuse(e.Where() + " has another name or address beside it")
			if !byName {
				continue
			}
		}
		switch {
		case strings.ContainsAny(e.Patterns, "*?") || strings.Count(e.Patterns, ",") > 1:
			refuse(e.Where() + " has a pattern or a list of names")
		case k >= 0:
			seen[k] = true
		default:
			u.Old = append(u.Old, e.Key)
		}
	}
	for i, k := range keys {
		if !seen[i] {
			u.New = append(u.New, k)
		}
	}
	for i := range db.Entries {
		e := &db.Entries[i]
		if slices.ContainsFunc(u.Old, func(k gossh.PublicKey) bool { return same(k, e.Key) }) && !e.matches(name) && (address == "" || !e.matches(address)) {
			refuse(e.Where() + " has an old key under another name")
		}
	}
	return u
}
