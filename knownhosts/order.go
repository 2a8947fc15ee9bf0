package knownhosts

import (
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// Algorithms puts those of the host key algorithms first that h has known keys
// for, so that the server is asked for a key that can be judged; for an
// authority these are those of certificates. Order is kept otherwise, and wholly
// where the first algorithm is one with a known key (OpenSSH, sshconnect2.c,
// order_hostkeyalgs). As in OpenSSH only lines count that name h's port.
func (db *DB) Algorithms(h Host, algorithms []string) []string {
	known, authority := db.types(h)
	if len(algorithms) > 0 && known[plainType(algorithms[0])] {
		return algorithms
	}
	var first, rest []string
	for _, a := range algorithms {
		if known[plainType(a)] || authority && strings.Contains(a, "-cert-v0") {
			first = append(first, a)
		} else {
			rest = append(rest, a)
		}
	}
	return append(first, rest...)
}

// Knows reports whether the files have a key of h, or an authority for it, that
// a host key algorithm is about.
func (db *DB) Knows(h Host, algorithm string) bool {
	known, authority := db.types(h)
	return known[plainType(algorithm)] || authority && strings.Contains(algorithm, "-cert-v0")
}

// types returns the types of h's keys, and whether it has an authority.
func (db *DB) types(h Host) (known map[string]bool, authority bool) {
	known = map[string]bool{}
	name := h.String()
	for i := range db.Entries {
		e := &db.Entries[i]
		switch {
		case e.Marker == "revoked" || !e.matches(name):
		case e.Marker == "cert-authority":
			authority = true
		default:
			known[e.Key.Type()] = true
		}
	}
	return known, authority
}

// plainType returns the type of the keys that a host key algorithm is about:
// without -cert-v01, and without the hash of RSA signatures.
func plainType(algorithm string) string {
	name, cert := algorithm, false
	if i := strings.Index(name, "-cert-v0"); i >= 0 {
		name, cert = name[:i], true
	}
	switch {
	case name == gossh.KeyAlgoRSASHA256, name == gossh.KeyAlgoRSASHA512:
		return gossh.KeyAlgoRSA
	case cert && strings.HasPrefix(name, "sk-"):
		return name + "@openssh.com"
	}
	return name
}
