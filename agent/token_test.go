package agent

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/wire"
)

// tokenRing is a ring with a provider that may be loaded, by a helper that behaves so.
func tokenRing(t testing.TB, how string) (r *Keyring, provider string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	provider = filepath.Join(dir, "provider.so")
	if err := os.WriteFile(provider, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r = &Keyring{Tokens: &Tokens{PKCS11Helper: helperIs(t, how), Providers: filepath.Join(dir, "*")}}
	t.Cleanup(r.Close)
	return r, provider
}

// newTokenKey puts a key into the token of playToken.
func newTokenKey(t testing.TB) keyPair {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(tokenEnv, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})))
	return newKeyPair(t, "token", k)
}

func addingToken(provider, pin string, limits ...byte) []byte {
	return append(wire.AppendString(wire.AppendString([]byte{numAddTokenLimited}, provider), pin), limits...)
}

func removingToken(provider string) []byte {
	return wire.AppendString(wire.AppendString([]byte{numRemoveToken}, provider), "")
}

// associated is the constraint that brings certificates.
func associated(only bool, keys ...gossh.PublicKey) []byte {
	var all []byte
	for _, k := range keys {
		all = wire.AppendString(all, k.Marshal())
	}
	b := wire.AppendString([]byte{constrainExtension}, extAssociatedCerts)
	return wire.AppendString(wire.AppendBool(b, only), all)
}

// wantKeys fails the test unless the ring lists these keys.
func wantKeys(t testing.TB, r *Keyring, what string, keys ...gossh.PublicKey) {
	t.Helper()
	ids := r.list(func(*heldKey) error { return nil })
	ok := len(ids) == len(keys)
	for i := range ids {
		ok = ok && string(ids[i].Blob) == string(keys[i].Marshal())
	}
	if !ok {
		t.Errorf("%s: %d keys, want %d: %v", what, len(ids), len(keys), ids)
	}
}

// A token's keys come and go, and sign, with helpers of both kinds; when the last has
// gone the helper does.
func TestToken(t *testing.T) {
	testnet.Census(t)
	for _, how := range []string{"hash", "whole"} {
		t.Run(how, func(t *testing.T) {
			r, provider := tokenRing(t, how)
			k := newTokenKey(t)
			c := r.NewConnection()
			wantAnswer(t, c, "wrong PIN", addingToken(provider, "4321"), numFailure, "the PIN is wrong")
			wantNoTokens(t, r)
			wantAnswer(t, c, "add", addingToken(provider, "1234"), numSuccess, "")
			wantKeys(t, r, "added", k.public)
			if ids := r.list(c.sees(&Request{})); ids[0].Comment != "label" {
				t.Errorf("the key is called %q", ids[0].Comment)
			}
			for flags, algorithm := range map[uint32]string{0: gossh.KeyAlgoRSA, FlagRSASHA256: gossh.KeyAlgoRSASHA256, FlagRSASHA512: gossh.KeyAlgoRSASHA512} {
				reply := wantAnswer(t, c, algorithm, signing(k.public, "data", flags), numSignature, "")
				wantSignature(t, k.public, []byte("data"), reply)
				if !strings.Contains(string(reply), algorithm) {
					t.Errorf("flags %d: %x, want %s", flags, reply, algorithm)
				}
			}
			if how == "whole" {
				wantAnswer(t, c, "more than the helper bears", signing(k.public, strings.Repeat("x", maxTokenRequest), 0), numFailure, "too much")
			}
			wantAnswer(t, c, "add again", addingToken(provider, "1234"), numFailure, "not there already")
			wantAnswer(t, c, "certificate only", addingToken(provider, "1234", associated(true, k.cert, k.public, testKeys.user.PublicKey())...), numSuccess, "")
			wantKeys(t, r, "with its certificate", k.public, k.cert)
			reply := wantAnswer(t, c, "the certificate", signing(k.cert, "data", FlagRSASHA256), numSignature, "")
			wantSignature(t, k.cert, []byte("data"), reply)

			wantAnswer(t, c, "lock", wire.AppendString([]byte{numLock}, "word"), numSuccess, "")
			wantAnswer(t, c, "locked", addingToken(provider, "1234"), numFailure, "locked")
			wantAnswer(t, c, "locked", removingToken(provider), numFailure, "locked")
			wantAnswer(t, c, "unlock", wire.AppendString([]byte{numUnlock}, "word"), numSuccess, "")
			wantAnswer(t, c, "unlocked", signing(k.public, "data", 0), numSignature, "")

			wantAnswer(t, c, "remove one", removing(k.public), numSuccess, "")
			wantAnswer(t, c, "the other stays", signing(k.cert, "data", 0), numSignature, "")
			wantAnswer(t, c, "add the one again", addingToken(provider, "1234"), numSuccess, "")
			wantKeys(t, r, "it is back", k.cert, k.public)
			wantAnswer(t, c, "and signs", signing(k.public, "data", 0), numSignature, "")
			wantAnswer(t, c, "remove the token", removingToken(provider), numSuccess, "")
			wantKeys(t, r, "removed")
			wantNoTokens(t, r)
			wantAnswer(t, c, "remove it again", removingToken(provider), numSuccess, "")
			wantAnswer(t, c, "add with limits", addingToken(provider, "1234", constrainConfirm), numSuccess, "")
			wantAnswer(t, c, "nobody confirms", signing(k.public, "data", 0), numFailure, "did not confirm")
			wantAnswer(t, c, "remove all", []byte{numRemoveAll}, numSuccess, "")
			wantNoTokens(t, r)
			wantAnswer(t, c, "certificates and keys", addingToken(provider, "1234", associated(false, k.cert)...), numSuccess, "")
			wantKeys(t, r, "both", k.cert, k.public)
			r.Close()
			wantNoChildren(t)
		})
	}
}

// wantNoTokens waits until the helpers have ended.
func wantNoTokens(t testing.TB, r *Keyring) {
	t.Helper()
	r.helpers.Wait()
	wantNoChildren(t)
}

// The keys of a helper that dies go with it, since nobody has the PIN any more; they
// can be added again.
func TestTokenDies(t *testing.T) {
	testnet.Census(t)
	r, provider := tokenRing(t, "whole")
	k := newTokenKey(t)
	c := r.NewConnection()
	for range 2 {
		wantAnswer(t, c, "add", addingToken(provider, "1234"), numSuccess, "")
		wantAnswer(t, c, "sign", signing(k.public, "data", 0), numSignature, "")
		wantAnswer(t, c, "it dies", signing(k.public, "die", 0), numFailure, "has ended")
		wantNoTokens(t, r)
		wantKeys(t, r, "dead")
	}
	wantAnswer(t, c, "add", addingToken(provider, "1234"), numSuccess, "")
	for _, p := range r.running() {
		p.Kill()
	}
	wantNoTokens(t, r)
	wantKeys(t, r, "killed while nobody asks")
}

// Helpers that are not as they should be cost their token, in time, and leave nothing
// behind.
func TestTokenHelpers(t *testing.T) {
	testnet.Census(t)
	for how, why := range map[string]string{
		"hangs":                "no answer for",
		"ends":                 "has ended",
		"complains":            "the device is on fire",
		"chatters":             "malformed message length",
		"long":                 "malformed message length",
		"short":                "has ended",
		"empty":                "malformed message length",
		"success":              "to refuse is due",
		"add hangs":            "no answer for",
		"dies later":           "has ended",
		"add complains":        "the device is on fire",
		"add long":             "malformed message length",
		"add short":            "has ended",
		"add success":          "answers with message 6",
		"add keys of nonsense": "malformed list",
		"add no keys":          "the token has no keys",
		"add wrong PIN":        "the PIN is wrong",
	} {
		r, provider := tokenRing(t, how)
		r.Tokens.limit = patience
		if strings.HasSuffix(how, "hangs") {
			r.Tokens.limit = 300 * time.Millisecond
		}
		wantAnswer(t, r.NewConnection(), how, addingToken(provider, "1234"), numFailure, why)
		wantNoTokens(t, r)
	}
}

// Who hangs up while a token is slow is not waited for; the ring's end ends the
// helper.
func TestTokenHangUp(t *testing.T) {
	testnet.Census(t)
	r, provider := tokenRing(t, "add hangs")
	ctx, hangUp := context.WithCancel(t.Context())
	asked := make(chan byte)
	var asking sync.WaitGroup
	asking.Go(func() { asked <- r.NewConnection().Answer(ctx, addingToken(provider, "1234"))[0] })
	for len(r.running()) == 0 { // until the helper runs
		select {
		case got := <-asked:
			t.Fatalf("answered %d", got)
		default:
		}
	}
	hangUp()
	if got := <-asked; got != numFailure {
		t.Errorf("got %d", got)
	}
	asking.Wait()
	wantNoTokens(t, r)
}

// running are the tokens' helpers.
func (r *Keyring) running() (all []*os.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t := range r.tokens {
		all = append(all, t.h.cmd.Process)
	}
	return all
}

// A library is not loaded for who is at another host, nor any that is not allowed.
func TestTokenProviders(t *testing.T) {
	r, provider := tokenRing(t, "hash")
	newTokenKey(t)
	c := r.NewConnection()
	wantAnswer(t, c, "bind", binding(session(t, testKeys.hosts[0], "id"), true), numSuccess, "")
	wantAnswer(t, c, "from another host", addingToken(provider, "1234"), numFailure, "who is at another host")
	r.Tokens.Remote = true
	wantAnswer(t, c, "from another host, allowed", addingToken(provider, "1234"), numSuccess, "")
	local := r.NewConnection()
	wantAnswer(t, local, "not there", addingToken(provider+"x", "1234"), numFailure, "no such file")
	wantAnswer(t, local, "remove what is not there", removingToken(provider+"x"), numFailure, "no such file")
	wantAnswer(t, local, "a provider of security keys", addingToken(provider, "1234", wire.AppendString(wire.AppendString([]byte{constrainExtension}, extSKProvider), "internal")...), numFailure, "not known")
	for n, request := range [][]byte{{numAddToken}, {numRemoveToken}, addingToken(provider, "1234")[:9], addingToken(provider, "1234", associated(true)[:9]...), addingToken(provider, strings.Repeat("1", maxTokenRequest))} {
		wantAnswer(t, local, "malformed", request, numFailure, "")
		_ = n
	}
	many := make([]gossh.PublicKey, maxAssociatedCerts+1)
	for i := range many {
		many[i] = testKeys.user.PublicKey()
	}
	wantAnswer(t, local, "too many certificates", addingToken(provider, "1234", associated(true, many...)...), numFailure, "more than 1024")
	wantAnswer(t, local, "twice", addingToken(provider, "1234", append(associated(true), associated(true)...)...), numFailure, "twice")
	r.Tokens.Providers = ""
	wantAnswer(t, local, "not allowed", addingToken(provider, "1234"), numFailure, "none of those allowed")
	r.Tokens = nil
	wantAnswer(t, local, "without Tokens", addingToken(provider, "1234"), numFailure, "holds no keys of security keys")
}
