package agent

import (
	"bytes"
	"errors"
	"slices"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// Why a key is not used. They are for the log: the one who asks learns FAILURE.
var (
	errNotBound    = errors.New("the key has destinations, and the connection is bound to no session")
	errBindFailed  = errors.New("the key has destinations, and binding the connection failed")
	errForwarded   = errors.New("a login over a connection that was bound for forwarding")
	errThroughAuth = errors.New("the way leads on from a session that was bound for a login")
	errNoWay       = errors.New("no destination of the key allows this way")
	errNothingLeft = errors.New("no destination of the key leads on from there")
	errNoLogin     = errors.New("the key has destinations, and what it is to sign is no login")
	errOtherID     = errors.New("the login is not on the session that the connection was bound to last")
	errNotHostbond = errors.New("the login behind another host is not bound to its host key")
	errOtherHost   = errors.New("the login is bound to another host key than the connection")
)

// bound is a session that a connection was bound to, its proof checked.
type bound struct {
	Binding
	key gossh.PublicKey
}

// visible says whether a key may be seen over a connection (OpenSSH,
// ssh-agent.c, identity_permitted with no user).
func visible(ds []Destination, way []bound, attempted bool, now time.Time) error {
	return walk(ds, way, attempted, nil, now)
}

// usable says whether a key may sign data over a connection (OpenSSH,
// ssh-agent.c, process_sign_request2).
func usable(ds []Destination, key gossh.PublicKey, data []byte, way []bound, attempted bool, now time.Time) error {
	if len(ds) == 0 {
		return nil
	}
	if len(way) == 0 {
		return errNotBound
	}
	login, err := parseLogin(data, key)
	if err != nil {
		return errNoLogin
	}
	if err := walk(ds, way, attempted, &login.user, now); err != nil {
		return err
	}
	last := way[len(way)-1]
	switch {
	case !bytes.Equal(login.sessionID, last.ID):
		return errOtherID
	case len(way) > 1 && login.hostKey == nil:
		return errNotHostbond
	case login.hostKey != nil && !bytes.Equal(login.hostKey, last.HostKey):
		return errOtherHost
	}
	return nil
}

// walk follows the way from here over the bound sessions: each hop takes a
// destination that allows it. user is who logs in at the last one, nil when
// nobody does.
func walk(ds []Destination, way []bound, attempted bool, user *string, now time.Time) error {
	if len(ds) == 0 {
		return nil
	}
	if len(way) == 0 {
		if attempted {
			return errBindFailed
		}
		return nil // used right here
	}
	var from *bound
	for i := range way {
		to, last := &way[i], i == len(way)-1
		var who *string
		switch {
		case last && user != nil && to.Forwarding:
			return errForwarded
		case last:
			who = user
		case !to.Forwarding:
			return errThroughAuth
		}
		if !slices.ContainsFunc(ds, func(d Destination) bool { return d.allows(from, to, who, now) }) {
			return errNoWay
		}
		from = to
	}
	// A key that is good for reaching a host, but for nothing beyond it, is not
	// shown there.
	if from.Forwarding && user == nil && !slices.ContainsFunc(ds, func(d Destination) bool { return d.From.is(from, now) }) {
		return errNothingLeft
	}
	return nil
}

// allows says whether a destination is from one session to another, nil being
// here.
func (d *Destination) allows(from, to *bound, user *string, now time.Time) bool {
	if from == nil && (d.From.Hostname != "" || len(d.From.Keys) > 0) || from != nil && !d.From.is(from, now) {
		return false
	}
	return d.To.is(to, now) && (d.To.User == "" || user == nil || wildcard.Match(d.To.User, *user))
}

// is says whether a session is one with the hop's host: by a plain key that is
// listed as such, or by a certificate of a listed authority for its name. Neither
// stands for the other.
func (h *Hop) is(b *bound, now time.Time) bool {
	cert, certified := b.key.(*gossh.Certificate)
	return slices.ContainsFunc(h.Keys, func(k HostKey) bool {
		if !certified {
			return !k.Authority && bytes.Equal(k.Blob, b.HostKey)
		}
		return k.Authority && bytes.Equal(cert.SignatureKey.Marshal(), k.Blob) && certifies(cert, h.Hostname, now)
	})
}

// certifies says whether a host certificate is valid for a name. Principals may
// be patterns. One without principals is for no name (OpenSSH, sshkey.c,
// sshkey_cert_check_host; older ones took it for any, and the name for the pattern).
func certifies(cert *gossh.Certificate, name string, now time.Time) bool {
	if cert.CertType != gossh.HostCert || cert.Signature.Format == gossh.KeyAlgoRSA || cert.Signature.Format == "ssh-dss" {
		return false
	}
	i := slices.IndexFunc(cert.ValidPrincipals, func(p string) bool { return wildcard.Match(p, name) })
	if i < 0 {
		return false
	}
	checker := gossh.CertChecker{Clock: func() time.Time { return now }}
	return checker.CheckCert(cert.ValidPrincipals[i], cert) == nil
}
