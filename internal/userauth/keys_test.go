package userauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

func signerOf(t testing.TB, key any) gossh.Signer {
	t.Helper()
	s, err := gossh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newEd25519(t testing.TB) gossh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

func newECDSA(t testing.TB) gossh.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

var rsaOnce = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newRSA(t testing.TB) gossh.Signer {
	t.Helper()
	key, err := rsaOnce()
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

// newCert returns a signer with a certificate for its key.
func newCert(t testing.TB, s gossh.Signer) gossh.Signer {
	t.Helper()
	c := &gossh.Certificate{Key: s.PublicKey(), CertType: gossh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: gossh.CertTimeInfinity}
	if err := c.SignCert(rand.Reader, newEd25519(t)); err != nil {
		t.Fatal(err)
	}
	cs, err := gossh.NewCertSigner(c, s)
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

func keysOf(signers ...gossh.Signer) func(context.Context) ([]Key, error) {
	var keys []Key
	for i, s := range signers {
		keys = append(keys, Key{Signer: s, Comment: fmt.Sprintf("key%d", i)})
	}
	return func(context.Context) ([]Key, error) { return keys, nil }
}
