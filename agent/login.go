package agent

import (
	"bytes"
	"errors"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// login is what a signature logs in with: the data of RFC 4252, section 7, with
// or without the host key of OpenSSH's PROTOCOL, section 3.1.
type login struct {
	sessionID []byte
	user      string
	method    string
	hostKey   []byte // nil without
}

// parseLogin reads data that is to be signed by a key (OpenSSH, ssh-agent.c,
// parse_userauth_request). It must be a login with that very key and nothing else.
func parseLogin(data []byte, key gossh.PublicKey) (login, error) {
	l, algorithm, blob, err := readLogin(data)
	switch {
	case err != nil:
		return l, err
	case !samePublic(blob, key) || !fits(algorithm, key):
		return l, errors.New("it is a login with another key")
	}
	return l, nil
}

// readLogin reads a login with any key.
func readLogin(data []byte) (l login, algorithm string, blob []byte, err error) {
	p := wire.NewParser(data)
	l = login{sessionID: p.Bytes()}
	num := p.Byte()
	l.user = p.String()
	service := p.String()
	l.method = p.String()
	signed := p.Byte()
	algorithm, blob = p.String(), p.Bytes()
	if l.method == wire.MethodHostbound {
		l.hostKey = p.Bytes()
	}
	if err := p.Done(); err != nil {
		return l, "", nil, err
	}
	if len(l.sessionID) == 0 || num != wire.NumUserauthRequest || service != wire.ServiceConnection || signed != 1 ||
		l.method != wire.MethodPublickey && l.method != wire.MethodHostbound || strings.IndexByte(l.user, 0) >= 0 {
		return l, "", nil, errors.New("it is no login")
	}
	if l.hostKey != nil {
		_, err = parsePublic(l.hostKey)
	}
	return l, algorithm, blob, err
}

// samePublic says whether a login names the key that signs. OpenSSH's client
// before 10.3 names the certificate and asks the bare key to sign; the signature
// proves the same then.
func samePublic(blob []byte, key gossh.PublicKey) bool {
	if bytes.Equal(blob, key.Marshal()) {
		return true
	}
	named, err := parsePublic(blob)
	if err != nil {
		return false
	}
	cert, ok := named.(*gossh.Certificate)
	return ok && bytes.Equal(cert.Key.Marshal(), key.Marshal())
}

// algorithmWebAuthn is that of signatures that a browser has a security key make.
const algorithmWebAuthn = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"

// fits says whether an algorithm is one of a key's type.
func fits(algorithm string, key gossh.PublicKey) bool {
	typ := bare(key).Type()
	switch algorithm {
	case gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSASHA512, gossh.CertAlgoRSAv01, gossh.CertAlgoRSASHA256v01, gossh.CertAlgoRSASHA512v01:
		return typ == gossh.KeyAlgoRSA
	case gossh.CertAlgoED25519v01:
		return typ == gossh.KeyAlgoED25519
	case gossh.CertAlgoECDSA256v01:
		return typ == gossh.KeyAlgoECDSA256
	case gossh.CertAlgoECDSA384v01:
		return typ == gossh.KeyAlgoECDSA384
	case gossh.CertAlgoECDSA521v01:
		return typ == gossh.KeyAlgoECDSA521
	case gossh.CertAlgoSKED25519v01:
		return typ == gossh.KeyAlgoSKED25519
	case gossh.CertAlgoSKECDSA256v01, algorithmWebAuthn:
		return typ == gossh.KeyAlgoSKECDSA256
	}
	return algorithm == typ
}
