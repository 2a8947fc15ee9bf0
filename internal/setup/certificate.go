package setup

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
)

// certificates returns keys with those of CertificateFile before them, each
// signed for by the key that it certifies, wherever that key is (ssh_config:
// CertificateFile).
func (o *Options) certificates(keys []adit.Key) []adit.Key {
	var first []adit.Key
	for _, path := range o.CertificateFiles {
		k, err := o.certificate(Expand(path), keys)
		if err != nil {
			o.notice("warning: " + err.Error())
			continue
		}
		first = append(first, k)
	}
	return append(first, keys...)
}

// certificatesBeside puts FILE-cert.pub behind the key of FILE, wherever that key
// is (ssh_config: IdentityFile; OpenSSH, ssh.c, load_public_identity_files).
func (o *Options) certificatesBeside(files []*keyFile, keys []adit.Key) []adit.Key {
	for _, f := range files {
		path := f.path + "-cert.pub"
		b, err := readLimited(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var cert *gossh.Certificate
		if err == nil {
			cert, err = parseCertificate(path, b)
		}
		if err != nil {
			o.notice("warning: " + err.Error())
			continue
		}
		i := slices.IndexFunc(keys, func(k adit.Key) bool { return k.Signer != nil && sameKey(k.PublicKey(), cert.Key) })
		if i < 0 {
			o.notice(fmt.Sprintf("warning: certificate %s: it is not for the key in %s", path, f.path))
			continue
		}
		if !slices.ContainsFunc(keys, func(k adit.Key) bool { return k.Signer != nil && sameKey(k.PublicKey(), cert) }) { // the agent may have it
			keys = slices.Insert(keys, i+1, certify(keys[i], cert, path))
		}
	}
	return keys
}

// certify makes a key show its certificate.
func certify(k adit.Key, cert *gossh.Certificate, path string) adit.Key {
	return adit.Key{Signer: &certified{k.Signer, cert}, Comment: path, Probe: k.Probe, Known: k.Known}
}

func (o *Options) certificate(path string, keys []adit.Key) (adit.Key, error) {
	b, err := readLimited(path)
	if err != nil {
		return adit.Key{}, fmt.Errorf("certificate file %s: %w", path, err)
	}
	cert, err := parseCertificate(path, b)
	if err != nil {
		return adit.Key{}, err
	}
	for _, k := range keys {
		if sameKey(k.PublicKey(), cert) { // an agent may let only the certificate sign for it
			k.Comment = path
			return k, nil
		}
	}
	for _, k := range keys {
		if bytes.Equal(k.PublicKey().Marshal(), cert.Key.Marshal()) {
			return certify(k, cert, path), nil
		}
	}
	return adit.Key{}, fmt.Errorf("certificate %s: its key %s is neither in a file nor in the agent", path, gossh.FingerprintSHA256(cert.Key))
}

func parseCertificate(path string, b []byte) (*gossh.Certificate, error) {
	key, _, _, _, err := gossh.ParseAuthorizedKey(b)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", path, err)
	}
	cert, ok := key.(*gossh.Certificate)
	if !ok {
		return nil, fmt.Errorf("certificate %s: it is a plain key", path)
	}
	if cert.CertType != gossh.UserCert {
		return nil, fmt.Errorf("certificate %s: it is a host's, not a user's", path)
	}
	return cert, nil
}

// certified is a certificate's key that shows the certificate.
type certified struct {
	gossh.Signer
	cert *gossh.Certificate
}

// PublicKey implements gossh.Signer.
func (s *certified) PublicKey() gossh.PublicKey { return s.cert }

// SignWithAlgorithm implements gossh.AlgorithmSigner.
func (s *certified) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	return s.SignContext(context.Background(), data, algorithm)
}

// SignContext implements adit.ContextSigner.
func (s *certified) SignContext(ctx context.Context, data []byte, algorithm string) (*gossh.Signature, error) {
	switch k := s.Signer.(type) {
	case adit.ContextSigner:
		return k.SignContext(ctx, data, algorithm)
	case gossh.AlgorithmSigner:
		return k.SignWithAlgorithm(rand.Reader, data, algorithm)
	}
	return s.Signer.Sign(rand.Reader, data)
}
