package authkeys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// Query is the question whether a key may log in.
type Query struct {
	User string          // the name that the client asks for
	Key  gossh.PublicKey // a *gossh.Certificate when the client shows one
	Addr netip.Addr      // the client's address; invalid when there is none
	Host string          // the client's verified host name, or empty
	Now  time.Time
}

// client returns the address in the form in which it is compared.
func (q Query) client() netip.Addr { return q.Addr.Unmap().WithZone("") }

// ErrNotListed says that no line is about the key.
var ErrNotListed = errors.New("key is not listed")

// Keys is the content of an authorized_keys file. It is immutable.
type Keys struct {
	name    string
	entries []entry
}

// ParseKeys reads an authorized_keys file; name stands for it in warnings and
// errors. Lines that can't be used are skipped with a warning. It fails when r
// does, or when there is more than MaxFile.
func ParseKeys(r io.Reader, name string) (*Keys, []Warning, error) {
	entries, warnings, err := parseFile(r, name)
	if err != nil {
		return nil, nil, err
	}
	return &Keys{name, entries}, warnings, nil
}

// Len returns the number of keys.
func (k *Keys) Len() int { return len(k.entries) }

// Check returns what a login with the key may do. Lines are tried in order, the
// first whose conditions hold decides. Otherwise it says why the last line with
// this key does not serve; ErrNotListed when there is none.
func (k *Keys) Check(q Query) (*Options, error) {
	key, cert := q.Key.Marshal(), (*gossh.Certificate)(nil)
	if c, ok := q.Key.(*gossh.Certificate); ok {
		key, cert = c.SignatureKey.Marshal(), c
	}
	reason := ErrNotListed
	for i := range k.entries {
		e := &k.entries[i]
		if e.authority != (cert != nil) || !bytes.Equal(e.key, key) {
			continue
		}
		o, err := e.check(q, cert)
		if err == nil {
			return o, nil
		}
		reason = fmt.Errorf("%s:%d: %w", k.name, e.line, err)
	}
	return nil, reason
}

// check applies an entry's conditions.
func (e *entry) check(q Query, cert *gossh.Certificate) (*Options, error) {
	if !e.expires.IsZero() && !q.Now.Before(e.expires) {
		return nil, fmt.Errorf("key expired at %s", e.expires.UTC().Format(time.RFC3339))
	}
	if e.from != nil && !matchFrom(e.from, q.client(), q.Host) {
		return nil, fmt.Errorf("key may not be used from %s", addrText(q.client()))
	}
	if cert == nil {
		return e.options, nil
	}
	names := e.principals
	if names == nil {
		names = []string{q.User}
	}
	o, err := checkCert(cert, names, q)
	if err != nil {
		return nil, err
	}
	return Merge(e.options, o)
}

// CAs is the content of a TrustedUserCAKeys file: authorities whose
// certificates let each of their principals log in under that name. It is
// immutable.
type CAs struct {
	name string
	keys [][]byte
}

// ParseCAs reads a TrustedUserCAKeys file: one public key a line, without
// options. Otherwise it is like ParseKeys.
func ParseCAs(r io.Reader, name string) (*CAs, []Warning, error) {
	entries, warnings, err := parseFile(r, name)
	if err != nil {
		return nil, nil, err
	}
	cas := &CAs{name: name}
	for _, e := range entries {
		if e.optioned {
			warnings = append(warnings, Warning{name, e.line, "options are not for this file"})
			continue
		}
		cas.keys = append(cas.keys, e.key)
	}
	slices.SortStableFunc(warnings, func(a, b Warning) int { return a.Line - b.Line })
	return cas, warnings, nil
}

// Len returns the number of authorities.
func (c *CAs) Len() int { return len(c.keys) }

// Check returns what a login with a certificate may do. Plain keys, and
// certificates of other authorities, are ErrNotListed.
func (c *CAs) Check(q Query) (*Options, error) {
	cert, ok := q.Key.(*gossh.Certificate)
	if !ok {
		return nil, ErrNotListed
	}
	ca := cert.SignatureKey.Marshal()
	if !slices.ContainsFunc(c.keys, func(k []byte) bool { return bytes.Equal(k, ca) }) {
		return nil, ErrNotListed
	}
	o, err := checkCert(cert, []string{q.User}, q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return o, nil
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return "an unknown address"
	}
	return a.String()
}
