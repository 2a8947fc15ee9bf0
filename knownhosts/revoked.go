package knownhosts

import (
	"bytes"
	"errors"
	"fmt"

	gossh "golang.org/x/crypto/ssh"
)

// Revoked is the content of lists of revoked keys (ssh_config:
// RevokedHostKeys): files with a public key on each line, or key revocation
// lists as ssh-keygen -k makes them (OpenSSH, PROTOCOL.krl).
type Revoked struct{ lists []revokedList }

// revokedList is one file.
type revokedList struct {
	file  string
	plain map[string]bool // wire forms of plain keys; nil for a key revocation list
	krl   *krl
}

// LoadRevoked reads lists of revoked keys. A list that can't be read or
// understood is an error: without it a revoked key would be trusted.
func LoadRevoked(files ...string) (*Revoked, error) {
	r := &Revoked{}
	for _, name := range files {
		b, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("revoked keys: %w", err)
		}
		l := revokedList{file: name}
		if isKRL(b) {
			l.krl, err = parseKRL(b)
		} else {
			l.plain, err = parsePlain(b)
		}
		if err != nil {
			return nil, fmt.Errorf("revoked keys: %s: %w", name, err)
		}
		r.lists = append(r.lists, l)
	}
	return r, nil
}

// parsePlain reads one public key a line.
func parsePlain(b []byte) (map[string]bool, error) {
	keys := map[string]bool{}
	for i, line := range bytes.Split(b, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		k, _, _, _, err := gossh.ParseAuthorizedKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		keys[plainBlob(k)] = true
	}
	return keys, nil
}

// plainBlob is the wire form of a key, or of the key that a certificate is for.
func plainBlob(k gossh.PublicKey) string {
	if cert, ok := k.(*gossh.Certificate); ok {
		k = cert.Key
	}
	return string(k.Marshal())
}

// ListedError says that a list of revoked keys has a key.
type ListedError struct {
	File        string
	Fingerprint string
}

func (e *ListedError) Error() string {
	return fmt.Sprintf("the key %s is revoked by %s", e.Fingerprint, e.File)
}

// Check returns a *ListedError if a list has the key, a certificate's key, its
// authority, or the certificate.
func (r *Revoked) Check(key gossh.PublicKey) error {
	for _, l := range r.lists {
		if l.has(key) {
			return &ListedError{l.file, gossh.FingerprintSHA256(key)}
		}
	}
	return nil
}

func (l *revokedList) has(key gossh.PublicKey) bool {
	cert, isCert := key.(*gossh.Certificate)
	if l.krl != nil {
		return l.krl.revokes(key) || isCert && l.krl.revokes(cert.SignatureKey)
	}
	return l.plain[plainBlob(key)] || isCert && l.plain[plainBlob(cert.SignatureKey)]
}

var errKRL = errors.New("malformed key revocation list")
