package setup

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	gossh "golang.org/x/crypto/ssh"
)

// maxBcryptRounds is how often a passphrase may be hashed (ssh-keygen -a, 24 if
// that says nothing): for a minute, about.
const maxBcryptRounds = 5000

// defaultTries is how often a passphrase is asked for unless
// NumberOfPasswordPrompts says so.
const defaultTries = 3

// parsePrivate reads a private key in any of the formats of ssh-keygen -m.
func parsePrivate(text, passphrase []byte) (private any, err error) {
	block, _ := pem.Decode(text)
	switch {
	case block != nil && block.Type == pkcs8Encrypted && passphrase == nil:
		return nil, &gossh.PassphraseMissingError{}
	case block != nil && block.Type == pkcs8Encrypted:
		return decryptPKCS8(block.Bytes, passphrase, usualLimits)
	case passphrase == nil:
		private, err = gossh.ParseRawPrivateKey(text)
	default:
		if block != nil && parseHead(block.Bytes).rounds() > maxBcryptRounds {
			return nil, fmt.Errorf("its passphrase would be hashed %d times, which takes too long", parseHead(block.Bytes).rounds())
		}
		private, err = gossh.ParseRawPrivateKeyWithPassphrase(text, passphrase)
	}
	if _, locked := errors.AsType[*gossh.PassphraseMissingError](err); err == nil || locked || errors.Is(err, x509.IncorrectPasswordError) {
		return private, err
	}
	if passphrase != nil && nonsense(block, passphrase) {
		return nil, x509.IncorrectPasswordError
	}
	if block.Type == "OPENSSH PRIVATE KEY" {
		switch k := clearPublic(block.Bytes); {
		case k == nil:
		case k.Type() == gossh.KeyAlgoSKED25519, k.Type() == gossh.KeyAlgoSKECDSA256:
			return nil, fmt.Errorf("%s keys sign in a token, which works through an agent only: ssh-add FILE", k.Type())
		case k.Type() == "ssh-dss":
			return nil, errors.New("DSA keys are not used any more")
		}
	}
	return nil, errors.New("it is damaged, or of a kind that is not known here") // the parser's words are for programmers
}

// nonsense reports whether a passphrase seems to open a block of the old format,
// which one wrong one in 256 does: what comes out ends as padding does.
func nonsense(block *pem.Block, passphrase []byte) bool {
	//lint:ignore SA1019 such keys are about
	plain, err := x509.DecryptPEMBlock(block, passphrase)
	clear(plain)
	return err == nil
}

// unlock opens the file, and asks for the passphrase unless that was tried
// before.
func (f *keyFile) unlock(ctx context.Context) error {
	if f.signer != nil || f.err != nil {
		return f.err
	}
	if !f.o.asks() {
		f.err = errors.New("it needs a passphrase, and there is nobody to ask")
		return f.err
	}
	tries := f.o.Tries
	switch {
	case tries == 0:
		tries = defaultTries
	case tries < 0:
		f.err = errors.New("it needs a passphrase, and NumberOfPasswordPrompts is 0")
		return f.err
	}
	for range tries {
		pass, err := f.o.mustAsk(ctx, fmt.Sprintf("Enter passphrase for key '%s': ", f.path), false)
		if err == nil && pass == "" { // to OpenSSH too this means: not this key
			err = errors.New("no passphrase was given")
		}
		if err != nil {
			f.err = err
			return err
		}
		private, err := parsePrivate(f.text, []byte(pass))
		if errors.Is(err, x509.IncorrectPasswordError) {
			continue
		}
		if err == nil {
			err = f.opened(private, true)
		}
		f.err = err
		return err
	}
	f.err = fmt.Errorf("the passphrase was wrong %d times", tries)
	return f.err
}

// opened takes the private key, which must be the one that was offered.
func (f *keyFile) opened(private any, offered bool) error {
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return errors.New("it is a key of a kind that is not known here")
	}
	if offered && f.public != nil && !sameKey(f.public, signer.PublicKey()) {
		return fmt.Errorf("private key %s contents do not match public", f.path)
	}
	f.signer = signer
	if f.o.addsKeys() {
		f.private = private
	}
	return nil
}

// fileSigner signs with a file's key, which it opens first, and gives it to the
// agent where AddKeysToAgent says so.
type fileSigner struct{ file *keyFile }

// PublicKey implements gossh.Signer.
func (s *fileSigner) PublicKey() gossh.PublicKey { return s.file.public }

// Sign implements gossh.Signer.
func (s *fileSigner) Sign(_ io.Reader, data []byte) (*gossh.Signature, error) {
	return s.SignContext(context.Background(), data, "")
}

// SignWithAlgorithm implements gossh.AlgorithmSigner.
func (s *fileSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	return s.SignContext(context.Background(), data, algorithm)
}

// SignContext asks for the passphrase within ctx.
func (s *fileSigner) SignContext(ctx context.Context, data []byte, algorithm string) (*gossh.Signature, error) {
	if err := s.file.unlock(ctx); err != nil {
		return nil, err
	}
	s.file.addToAgent(ctx)
	as, ok := s.file.signer.(gossh.AlgorithmSigner)
	if !ok || algorithm == "" {
		return s.file.signer.Sign(rand.Reader, data)
	}
	return as.SignWithAlgorithm(rand.Reader, data, algorithm)
}
