package knownhosts

import (
	"slices"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// Names returns what the host with a key is called, in the files' form: the names of
// the plain lines that have it. A certificate is called by those of its names for
// which it is valid and its authority is known. more says that there are lines whose
// names can't be told: hashed ones, and patterns.
func (db *DB) Names(key gossh.PublicKey, now time.Time) (names []string, more bool) {
	if db.revocation(key) != nil {
		return nil, false
	}
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, e := range db.Entries {
		if e.Marker != "" || !same(e.Key, key) {
			continue
		}
		if strings.HasPrefix(e.Patterns, "|") {
			more = true
			continue
		}
		for p := range strings.SplitSeq(e.Patterns, ",") {
			switch {
			case strings.HasPrefix(p, "!"):
			case strings.ContainsAny(p, "*?"):
				more = true
			default:
				add(p)
			}
		}
	}
	cert, ok := key.(*gossh.Certificate)
	if !ok {
		return names, more
	}
	for _, p := range cert.ValidPrincipals {
		if db.Judge(SplitAddr(p), cert, now).Status == IsKnown {
			add(p)
		}
	}
	certified, hidden := db.Names(cert.Key, now) // a line with the bare key knows it, too
	for _, name := range certified {
		add(name)
	}
	return names, more || hidden
}

// Is says whether a name, in the files' form, is that of the host with a key.
func (db *DB) Is(key gossh.PublicKey, name string, now time.Time) bool {
	return db.Judge(SplitAddr(name), key, now).Status == IsKnown
}
