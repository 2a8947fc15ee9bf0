package authkeys

import (
	"errors"
	"fmt"
	"slices"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
)

// Critical options and extensions of user certificates (OpenSSH
// PROTOCOL.certkeys, "Critical options" and "Extensions").
const (
	critForceCommand  = "force-command"
	critSourceAddress = "source-address"

	extPortForwarding  = "permit-port-forwarding"
	extAgentForwarding = "permit-agent-forwarding"
	extX11Forwarding   = "permit-X11-forwarding"
	extPTY             = "permit-pty"
	extUserRC          = "permit-user-rc"
)

// checkCert checks a certificate whose authority is trusted, and returns what
// it permits. One of names must be among its principals.
func checkCert(cert *gossh.Certificate, names []string, q Query) (*Options, error) {
	if cert.CertType != gossh.UserCert {
		return nil, errors.New("certificate is not a user's")
	}
	if err := checkCASignature(cert); err != nil {
		return nil, err
	}
	if !acceptable(cert) {
		return nil, fmt.Errorf("certificate is for a %s key that is not supported, or too small", cert.Key.Type())
	}
	// A certificate without principals would be good for everybody. OpenSSH
	// does not take it from a TrustedUserCAKeys authority either.
	i := slices.IndexFunc(cert.ValidPrincipals, func(p string) bool { return slices.Contains(names, p) })
	if i < 0 {
		return nil, fmt.Errorf("certificate is for %q, not for %q", cert.ValidPrincipals, names)
	}
	checker := gossh.CertChecker{
		SupportedCriticalOptions: []string{critForceCommand, critSourceAddress},
		Clock:                    func() time.Time { return q.Now },
	}
	if err := checker.CheckCert(cert.ValidPrincipals[i], cert); err != nil {
		return nil, err
	}
	if list, ok := cert.CriticalOptions[critSourceAddress]; ok {
		if err := checkSource(list, q); err != nil {
			return nil, err
		}
	}
	return certOptions(cert), nil
}

// checkCASignature refuses authorities with weak keys, and signatures that are
// not acceptable in a login either: RSA with SHA-1 above all.
func checkCASignature(cert *gossh.Certificate) error {
	if !acceptable(cert.SignatureKey) {
		return fmt.Errorf("certificate's authority has a %s key that is not supported, or too small", cert.SignatureKey.Type())
	}
	if !slices.Contains(algo.SignatureAlgorithms(), cert.Signature.Format) {
		return fmt.Errorf("certificate is signed with %q, which is not accepted", cert.Signature.Format)
	}
	return nil
}

func checkSource(list string, q Query) error {
	networks, err := parseSourceAddresses(list)
	if err != nil {
		return fmt.Errorf("certificate's source-address: %w", err)
	}
	for _, n := range networks {
		if n.Contains(q.client()) {
			return nil
		}
	}
	return fmt.Errorf("certificate may not be used from %s", addrText(q.client()))
}

// certOptions returns what a certificate permits: what its extensions name.
// Extensions that are not known are ignored, as they may be.
func certOptions(cert *gossh.Certificate) *Options {
	has := func(name string) bool { _, ok := cert.Extensions[name]; return ok }
	o := &Options{
		PortForwarding:  has(extPortForwarding),
		AgentForwarding: has(extAgentForwarding),
		X11Forwarding:   has(extX11Forwarding),
		PTY:             has(extPTY),
		UserRC:          has(extUserRC),
	}
	o.Command, o.Forced = cert.CriticalOptions[critForceCommand]
	return o
}
