package setup

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	gossh "golang.org/x/crypto/ssh"
)

// passphraseTries is how often a passphrase is asked for.
const passphraseTries = 3

// unlocker is a private key file with a passphrase. It asks once at most, for
// the key and its certificate together. It is used by one login at a time.
type unlocker struct {
	o        *Options
	path     string
	file     []byte
	unlocked gossh.Signer
	err      error // asking again is no use
}

// signer asks for the passphrase, unless it was asked for before.
func (u *unlocker) signer(ctx context.Context) (gossh.Signer, error) {
	if u.unlocked != nil || u.err != nil {
		return u.unlocked, u.err
	}
	for range passphraseTries {
		pass, err := u.o.mustAsk(ctx, fmt.Sprintf("Passphrase of %s: ", u.path), false)
		if err != nil {
			u.err = err
			return nil, err
		}
		if pass == "" { // to OpenSSH too this means: not this key
			u.err = errors.New("no passphrase was given")
			return nil, u.err
		}
		u.unlocked, err = gossh.ParsePrivateKeyWithPassphrase(u.file, []byte(pass))
		if !errors.Is(err, x509.IncorrectPasswordError) {
			u.err = err
			return u.unlocked, err
		}
	}
	u.err = fmt.Errorf("the passphrase was wrong %d times", passphraseTries)
	return nil, u.err
}

// lockedSigner is a key, or its certificate, whose passphrase is asked for when
// it signs: so only when the server is known to take it.
type lockedSigner struct {
	unlock *unlocker
	public gossh.PublicKey
}

// PublicKey implements gossh.Signer.
func (s *lockedSigner) PublicKey() gossh.PublicKey { return s.public }

// Sign implements gossh.Signer.
func (s *lockedSigner) Sign(rand io.Reader, data []byte) (*gossh.Signature, error) {
	signer, err := s.unlock.signer(context.Background())
	if err != nil {
		return nil, err
	}
	return signer.Sign(rand, data)
}

// SignWithAlgorithm implements gossh.AlgorithmSigner.
func (s *lockedSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	return s.SignContext(context.Background(), data, algorithm)
}

// SignContext asks for the passphrase within ctx.
func (s *lockedSigner) SignContext(ctx context.Context, data []byte, algorithm string) (*gossh.Signature, error) {
	signer, err := s.unlock.signer(ctx)
	if err != nil {
		return nil, err
	}
	as, ok := signer.(gossh.AlgorithmSigner)
	if !ok {
		return nil, fmt.Errorf("%s key can't choose an algorithm", signer.PublicKey().Type())
	}
	return as.SignWithAlgorithm(rand.Reader, data, algorithm)
}
