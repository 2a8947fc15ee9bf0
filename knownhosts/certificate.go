package knownhosts

import (
	"fmt"
	"slices"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// checkCert judges a certificate whose authority is known for h (OpenSSH,
// sshkey_cert_check_host). The texts are OpenSSH's, which people search for.
//
// Principals are patterns, and a certificate without any is for nobody, as in
// OpenSSH since 10.3; before, it was for anybody.
func (db *DB) checkCert(h Host, cert *gossh.Certificate, now time.Time) error {
	fail := func(format string, args ...any) error {
		return &CertificateError{h, fmt.Sprintf(format, args...)}
	}
	at := uint64(now.Unix())
	name := strings.ToLower(h.Name)
	i := slices.IndexFunc(cert.ValidPrincipals, func(p string) bool { return wildcard.Match(p, name) })
	switch {
	case cert.CertType != gossh.HostCert:
		return fail("Certificate invalid: not a host certificate")
	case at < cert.ValidAfter:
		return fail("Certificate invalid: not yet valid")
	case at >= cert.ValidBefore && cert.ValidBefore != gossh.CertTimeInfinity:
		return fail("Certificate invalid: expired")
	case len(cert.ValidPrincipals) == 0:
		return fail("Certificate lacks principal list")
	case i < 0:
		return fail("Certificate invalid: name is not a listed principal")
	case len(cert.CriticalOptions) > 0:
		return fail("Certificate contains unsupported critical options(s)")
	case !db.signs(cert.Signature.Format):
		return fail("Certificate signed with disallowed algorithm")
	}
	// What is left is the signature.
	checker := gossh.CertChecker{Clock: func() time.Time { return now }}
	if err := checker.CheckCert(cert.ValidPrincipals[i], cert); err != nil {
		return fail("%v", err)
	}
	return nil
}

// signs reports whether an authority may sign with an algorithm.
func (db *DB) signs(algorithm string) bool {
	if db.CASignatures == nil {
		return algorithm != gossh.KeyAlgoRSA && algorithm != "ssh-dss"
	}
	return slices.Contains(db.CASignatures, algorithm)
}
