package setup

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// typist gives one answer after the other, and goes away after the last.
type typist struct {
	answers   []string
	asked     int
	questions []string
}

func (p *typist) Ask(_ context.Context, question string, _ bool) (string, bool, error) {
	p.asked++
	p.questions = append(p.questions, question)
	if p.asked > len(p.answers) {
		return "", false, nil
	}
	return p.answers[p.asked-1], true, nil
}

// writeLocked makes a key with a passphrase, and its certificate. One round of
// key derivation keeps the test quick.
func writeLocked(t *testing.T, passphrase string) (path string, public gossh.PublicKey) {
	t.Helper()
	testpeer.Need(t, "ssh-keygen")
	ca := testpeer.NewKey(t, "ed25519")
	path = filepath.Join(t.TempDir(), "id")
	for _, args := range [][]string{
		{"-q", "-t", "ed25519", "-a", "1", "-N", passphrase, "-f", path},
		{"-q", "-s", ca.Path, "-I", "id", "-n", "alice", path + ".pub"},
	} {
		if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	b, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if public, _, _, _, err = gossh.ParseAuthorizedKey(b); err != nil {
		t.Fatal(err)
	}
	return path, public
}

func TestPassphraseIsAskedForWhenTheKeySigns(t *testing.T) {
	path, public := writeLocked(t, "open sesame")
	who := &typist{answers: []string{"wrong", "open sesame"}}
	o := &Options{IdentityFiles: []string{path}, IdentityAgent: "none", Prompter: who}
	keys, err := o.keys(t.Context())
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if who.asked != 0 {
		t.Error("asked before the key was needed")
	}
	for _, k := range keys {
		s, ok := k.Signer.(adit.ContextSigner)
		if !ok || !k.Probe {
			t.Fatalf("%s: context signer %v, probe %v", k.Comment, ok, k.Probe)
		}
		sig, err := s.SignContext(t.Context(), []byte("data"), gossh.KeyAlgoED25519)
		if err != nil {
			t.Fatal(err)
		}
		if err := public.Verify([]byte("data"), sig); err != nil {
			t.Errorf("%s: %v", k.Comment, err)
		}
	}
	if who.asked != 2 {
		t.Errorf("asked %d times for a key and its certificate, want one wrong and one right answer", who.asked)
	}

	nobody := new(typist)
	if keys, err = (&Options{IdentityFiles: []string{path}, IdentityAgent: "none", Prompter: nobody}).keys(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if _, err := k.Sign(rand.Reader, []byte("data")); !errors.Is(err, errNobody) {
			t.Errorf("%s: got %v, want %v", k.Comment, err, errNobody)
		}
	}
	if nobody.asked != 1 {
		t.Errorf("nobody was asked %d times", nobody.asked)
	}
}

// A person is asked three times, and no more once it is clear that it is no use.
func TestWrongPassphrases(t *testing.T) {
	path, _ := writeLocked(t, "open sesame")
	for _, tt := range []struct {
		answers []string
		want    string
	}{
		{[]string{"barley", "rye", "oats", "open sesame"}, "the passphrase was wrong 3 times"},
		{[]string{"barley", "", "open sesame"}, "no passphrase was given"},
	} {
		who := &typist{answers: tt.answers}
		keys, err := (&Options{IdentityFiles: []string{path}, IdentityAgent: "none", Prompter: who}).keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys { // the certificate, and the key
			if _, err := k.Sign(rand.Reader, []byte("data")); err == nil || err.Error() != tt.want {
				t.Errorf("answers %q: got %v, want %s", tt.answers, err, tt.want)
			}
		}
		if who.asked == len(tt.answers) {
			t.Errorf("answers %q: asked for the last one too", tt.answers)
		}
	}
}

// A file can't make us hash a passphrase for days.
func TestTooManyRounds(t *testing.T) {
	path, _ := writeLocked(t, "open sesame")
	block, _ := pem.Decode(readFile(t, path))
	options := parseHead(block.Bytes).Options
	patched := bytes.Clone(options)
	copy(patched[len(patched)-4:], "\xff\xff\xff\xff")
	block.Bytes = bytes.Replace(block.Bytes, options, patched, 1)
	if _, err := parsePrivate(pem.EncodeToMemory(block), []byte("open sesame")); err == nil || !strings.Contains(err.Error(), "hashed 4294967295 times") {
		t.Errorf("bcrypt: got %v, want a refusal", err)
	}

	asn := func(v any) asn1.RawValue {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return asn1.RawValue{FullBytes: b}
	}
	for name, kdf := range map[string]pkix.AlgorithmIdentifier{
		"PBKDF2": {Algorithm: oidPBKDF2, Parameters: asn(struct {
			Salt   []byte
			Rounds int
		}{[]byte("salt"), 1 << 30})},
		"scrypt in memory": {Algorithm: oidScrypt, Parameters: asn(struct {
			Salt    []byte
			N, R, P int
		}{[]byte("salt"), 1 << 40, 8, 1})},
		"scrypt in time": {Algorithm: oidScrypt, Parameters: asn(struct {
			Salt    []byte
			N, R, P int
		}{[]byte("salt"), 1 << 14, 8, 1 << 20})},
		"scrypt with all": {Algorithm: oidScrypt, Parameters: asn(struct {
			Salt    []byte
			N, R, P int
		}{[]byte("salt"), 1 << 14, 1 << 40, 1 << 40})},
	} {
		if key, err := pkcs8Key(kdf, []byte("x"), 32, usualLimits); err == nil {
			t.Errorf("%s: got %x, want a refusal", name, key)
		}
	}
}
