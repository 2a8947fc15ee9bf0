package knownhosts

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// UnknownError says that no line speaks of the host.
type UnknownError struct {
	Host  Host
	Key   gossh.PublicKey
	Files []string // what was searched
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("the host %s is not known: %s key fingerprint is %s (searched %s)",
		e.Host, keyName(e.Key), gossh.FingerprintSHA256(e.Key), strings.Join(e.Files, ", "))
}

// MismatchError says that the host is known with other keys only.
type MismatchError struct {
	Host Host
	Key  gossh.PublicKey
	Want []Entry
}

func (e *MismatchError) Error() string {
	var want []string
	for _, w := range e.Want {
		want = append(want, fmt.Sprintf("%s %s (%s:%d)", keyName(w.Key), gossh.FingerprintSHA256(w.Key), w.File, w.Line))
	}
	return fmt.Sprintf("the key of %s has changed: it shows %s %s, known is %s. Somebody may be listening in, or the key was replaced",
		e.Host, keyName(e.Key), gossh.FingerprintSHA256(e.Key), strings.Join(want, ", "))
}

// RevokedError says that the key, or the key of its authority, is revoked.
type RevokedError struct {
	Host  Host
	Entry Entry
}

func (e *RevokedError) Error() string {
	return fmt.Sprintf("the key that %s shows is revoked (%s:%d)", e.Host, e.Entry.File, e.Entry.Line)
}

// CertificateError says why a host certificate is not accepted although its
// authority is known, or that its authority is not known.
type CertificateError struct {
	Host Host
	Text string
}

func (e *CertificateError) Error() string {
	return fmt.Sprintf("host certificate of %s: %s", e.Host, e.Text)
}

func keyName(k gossh.PublicKey) string {
	if cert, ok := k.(*gossh.Certificate); ok {
		k = cert.Key
	}
	name := strings.TrimPrefix(k.Type(), "ssh-")
	name, _, _ = strings.Cut(name, "-sha2")
	return strings.ToUpper(name)
}

func same(a, b gossh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// lookup returns the entries for h that are not revocations: those that name its
// port, or, when there is none, those that name no port. exact says that it is
// the former.
func (db *DB) lookup(h Host) (found []Entry, exact bool) {
	find := func(host string) (found []Entry) {
		for _, e := range db.Entries {
			if e.Marker != "revoked" && e.matches(host) {
				found = append(found, e)
			}
		}
		return found
	}
	found = find(h.String())
	if len(found) == 0 && h.Port != 22 && h.Port != 0 {
		return find(Host{Name: h.Name}.String()), false
	}
	return found, true
}

// Check judges the key that h shows. It returns nil for a known key or a valid
// certificate of a known authority, and *UnknownError, *MismatchError,
// *RevokedError or *CertificateError otherwise.
func (db *DB) Check(h Host, key gossh.PublicKey, now time.Time) error {
	cert, isCert := key.(*gossh.Certificate)
	for _, e := range db.Entries {
		if e.Marker == "revoked" && (same(e.Key, key) || isCert && (same(e.Key, cert.SignatureKey) || same(e.Key, cert.Key))) {
			return &RevokedError{h, e}
		}
	}
	entries, exact := db.lookup(h)
	if isCert {
		for _, e := range entries {
			if e.Marker == "cert-authority" && same(e.Key, cert.SignatureKey) {
				return checkCert(h, cert, now)
			}
		}
		key = cert.Key // OpenSSH falls back to the bare key
	}
	var others []Entry
	for _, e := range entries {
		if e.Marker != "" {
			continue
		}
		if same(e.Key, key) {
			return nil
		}
		others = append(others, e)
	}
	// As in OpenSSH, keys of other types are no contradiction by themselves, but
	// a host that is known is never taken for an unknown one. An entry without a
	// port can vouch for another port, but says nothing against its key.
	if len(others) > 0 && exact {
		return &MismatchError{h, key, others}
	}
	return &UnknownError{h, key, db.Files}
}

// CheckHostKey is Check for an address with its port, at this time. It has the
// form that adit.Config.CheckHostKey wants.
func (db *DB) CheckHostKey(address, _ string, key gossh.PublicKey) error {
	return db.Check(SplitAddr(address), key, time.Now())
}

func checkCert(h Host, cert *gossh.Certificate, now time.Time) error {
	fail := func(format string, args ...any) error {
		return &CertificateError{h, fmt.Sprintf(format, args...)}
	}
	if cert.CertType != gossh.HostCert {
		return fail("it is a user's certificate")
	}
	if len(cert.CriticalOptions) > 0 {
		return fail("it has critical options")
	}
	if at := uint64(now.Unix()); at < cert.ValidAfter || cert.ValidBefore != gossh.CertTimeInfinity && at >= cert.ValidBefore {
		return fail("it is not valid at this time")
	}
	checker := gossh.CertChecker{Clock: func() time.Time { return now }}
	name := strings.ToLower(h.Name)
	for _, p := range cert.ValidPrincipals {
		if wildcard(strings.ToLower(p), name) {
			if err := checker.CheckCert(p, cert); err != nil {
				return fail("%v", err)
			}
			return nil
		}
	}
	return fail("it is for %s", strings.Join(cert.ValidPrincipals, ", "))
}

// Algorithms puts those of the algorithms first that h has known keys for, so
// that the server is asked for a key that can be judged. Order is kept
// otherwise.
func (db *DB) Algorithms(h Host, algorithms []string) []string {
	known := map[string]bool{}
	entries, _ := db.lookup(h)
	for _, e := range entries {
		t := e.Key.Type()
		if e.Marker == "cert-authority" {
			known["-cert-"] = true
			continue
		}
		known[t] = true
	}
	var first, rest []string
	for _, a := range algorithms {
		t := a
		switch a {
		case gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSASHA512:
			t = gossh.KeyAlgoRSA
		}
		if known[t] || known["-cert-"] && strings.Contains(a, "-cert-") {
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
	return algorithm != "" && db.Algorithms(h, []string{"", algorithm})[0] == algorithm
}
