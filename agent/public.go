package agent

import (
	"bytes"
	"errors"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

var (
	errCertificate = errors.New("malformed certificate")
	errZeroByte    = errors.New("a text with a zero byte")
)

// parsePublic reads a public key or certificate, which must be signed by its
// authority (OpenSSH, sshkey.c, cert_parse). Whether it is valid for something is
// another matter.
func parsePublic(blob []byte) (gossh.PublicKey, error) {
	key, err := gossh.ParsePublicKey(blob)
	if err != nil {
		return nil, err
	}
	cert, ok := key.(*gossh.Certificate)
	if !ok {
		return key, nil
	}
	if cert.CertType != gossh.UserCert && cert.CertType != gossh.HostCert {
		return nil, errCertificate
	}
	if _, chained := cert.SignatureKey.(*gossh.Certificate); chained {
		return nil, errCertificate
	}
	// The signature is of all that comes before it.
	signature := wire.AppendString(nil, gossh.Marshal(cert.Signature))
	signed, ok := bytes.CutSuffix(blob, signature)
	if !ok || cert.SignatureKey.Verify(signed, cert.Signature) != nil {
		return nil, errCertificate
	}
	return cert, nil
}

// cString takes a text as OpenSSH does, which reads it as one of C's: a zero byte
// may be at its end, and is not part of it.
func cString(p *wire.Parser) (string, error) {
	b := bytes.TrimSuffix(p.Bytes(), []byte{0})
	if bytes.IndexByte(b, 0) >= 0 {
		return "", errZeroByte
	}
	return string(b), p.Err()
}
