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
		e.Host, TypeName(e.Key), gossh.FingerprintSHA256(e.Key), strings.Join(e.Files, ", "))
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
		want = append(want, fmt.Sprintf("%s %s (%s)", TypeName(w.Key), gossh.FingerprintSHA256(w.Key), w.Where()))
	}
	return fmt.Sprintf("the key of %s has changed: it shows %s %s, known is %s. Somebody may be listening in, or the key was replaced",
		e.Host, TypeName(e.Key), gossh.FingerprintSHA256(e.Key), strings.Join(want, ", "))
}

// RevokedError says that the key, or the key of its authority, is revoked.
type RevokedError struct {
	Host  Host
	Entry Entry
}

func (e *RevokedError) Error() string {
	return fmt.Sprintf("the key that %s shows is revoked (%s)", e.Host, e.Entry.Where())
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

// TypeName returns OpenSSH's name for a key's type: ED25519, ECDSA, RSA, with -SK
// for keys on tokens and -CERT for certificates.
func TypeName(k gossh.PublicKey) string {
	suffix := ""
	if cert, ok := k.(*gossh.Certificate); ok {
		k, suffix = cert.Key, "-CERT"
	}
	name, _, _ := strings.Cut(k.Type(), "@")
	name, token := strings.CutPrefix(name, "sk-")
	if token {
		suffix = "-SK" + suffix
	}
	name = strings.TrimPrefix(name, "ssh-")
	name, _, _ = strings.Cut(name, "-sha2")
	if name == "dss" {
		name = "dsa"
	}
	return strings.ToUpper(name) + suffix
}

func same(a, b gossh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// Status is what the files say about a host and a key.
type Status int

// What Judge finds.
const (
	IsUnknown Status = iota // no line is for the host
	IsKnown                 // a line has the key, or the authority of its valid certificate
	IsChanged               // the host's lines have other keys only
	IsRevoked               // a line revokes the key or its authority
)

// Verdict is what the files say about a key that a host shows.
type Verdict struct {
	Status Status
	// Entry is the line that decided: the one with the key or its authority, the
	// last of those with other keys, the revocation. Nil for IsUnknown.
	Entry *Entry
	// Others are the host's lines with other keys, for IsChanged.
	Others []Entry
	// Key is what was judged in the end: the bare key of a certificate that did
	// not count.
	Key gossh.PublicKey
	// PortLess says that Entry names no port while the host has one that is not
	// 22.
	PortLess bool
	// Certificate says why a certificate does not count although its authority
	// is known.
	Certificate error
}

// Judge judges the key that h shows, as OpenSSH does (sshconnect.c,
// check_host_key). Lines that name h's port come first; where they know nothing,
// those without a port can vouch for the key, but say nothing against it. A
// certificate that does not count is judged by its bare key.
func (db *DB) Judge(h Host, key gossh.PublicKey, now time.Time) Verdict {
	v := Verdict{Key: key}
	if v.Entry = db.revocation(key); v.Entry != nil {
		v.Status = IsRevoked
		return v
	}
	names := []string{h.String()}
	if bare := (Host{Name: h.Name}).String(); bare != names[0] {
		names = append(names, bare)
	}
	if cert, ok := key.(*gossh.Certificate); ok {
		for i, name := range names {
			ca := db.authority(name, cert.SignatureKey)
			if ca == nil {
				continue
			}
			if v.Certificate = db.checkCert(h, cert, now); v.Certificate == nil {
				v.Status, v.Entry, v.PortLess = IsKnown, ca, i > 0
				return v
			}
			break
		}
		v.Key = cert.Key
	}
	for i, name := range names {
		found, others := db.plain(name, v.Key)
		switch {
		case found != nil:
			v.Status, v.Entry, v.PortLess = IsKnown, found, i > 0
			return v
		case i == 0 && len(others) > 0:
			// Keys of other types count too: a host that is known is never taken
			// for an unknown one.
			v.Status, v.Entry, v.Others = IsChanged, &others[len(others)-1], others
			return v
		}
	}
	return v
}

// Lookup says what the plain lines of one name, in the files' form, say about a
// key, and which line: that with the key, or the last one with another. It does
// not fall back on lines without a port, and does not look at revocations.
func (db *DB) Lookup(name string, key gossh.PublicKey) (Status, *Entry) {
	found, others := db.plain(name, key)
	switch {
	case found != nil:
		return IsKnown, found
	case len(others) > 0:
		return IsChanged, &others[len(others)-1]
	}
	return IsUnknown, nil
}

// OtherNames returns the plain lines that have the key, but are not for h.
func (db *DB) OtherNames(h Host, key gossh.PublicKey) (found []Entry) {
	name := h.String()
	for _, e := range db.Entries {
		if e.Marker == "" && same(e.Key, key) && !e.matches(name) {
			found = append(found, e)
		}
	}
	return found
}

// revocation returns the line that revokes a key, or a certificate's authority.
func (db *DB) revocation(key gossh.PublicKey) *Entry {
	cert, isCert := key.(*gossh.Certificate)
	for i, e := range db.Entries {
		if e.Marker == "revoked" && (same(e.Key, key) || isCert && (same(e.Key, cert.SignatureKey) || same(e.Key, cert.Key))) {
			return &db.Entries[i]
		}
	}
	return nil
}

// authority returns the line that makes ca an authority for a name.
func (db *DB) authority(name string, ca gossh.PublicKey) *Entry {
	for i := range db.Entries {
		if e := &db.Entries[i]; e.Marker == "cert-authority" && same(e.Key, ca) && e.matches(name) {
			return e
		}
	}
	return nil
}

// plain returns the line with a name's key, or all lines with other keys.
func (db *DB) plain(name string, key gossh.PublicKey) (found *Entry, others []Entry) {
	for i := range db.Entries {
		e := &db.Entries[i]
		if e.Marker != "" || !e.matches(name) {
			continue
		}
		if same(e.Key, key) {
			return e, nil
		}
		others = append(others, *e)
	}
	return nil, others
}

// Check is Judge as an error: nil for a known key or a valid certificate of a
// known authority, and *UnknownError, *MismatchError, *RevokedError or
// *CertificateError otherwise.
func (db *DB) Check(h Host, key gossh.PublicKey, now time.Time) error {
	return db.Error(h, db.Judge(h, key, now))
}

// Error returns what Check returns for a verdict about h.
func (db *DB) Error(h Host, v Verdict) error {
	switch {
	case v.Status == IsKnown:
		return nil
	case v.Status == IsRevoked:
		return &RevokedError{h, *v.Entry}
	case v.Status == IsChanged:
		return &MismatchError{h, v.Key, v.Others}
	case v.Certificate != nil:
		return v.Certificate
	}
	return &UnknownError{h, v.Key, db.Files}
}

// CheckHostKey is Check for an address with its port, at this time. It has the
// form that adit.Config.CheckHostKey wants.
func (db *DB) CheckHostKey(address, _ string, key gossh.PublicKey) error {
	return db.Check(SplitAddr(address), key, time.Now())
}
