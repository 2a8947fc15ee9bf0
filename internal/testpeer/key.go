package testpeer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// Key is a key pair and its files in OpenSSH's format: Path holds the private
// key (mode 0600), Path.pub the public one.
type Key struct {
	Path    string
	Private crypto.Signer // an ed25519.PrivateKey, an *ecdsa.PrivateKey or an *rsa.PrivateKey
	Signer  gossh.Signer
	Public  gossh.PublicKey
}

// KeyTypes are the types that NewKey makes.
var KeyTypes = []string{"ed25519", "ecdsa", "rsa"}

// NewKey makes a key pair of a type in KeyTypes: Ed25519, ECDSA on P-256 or RSA
// with 2048 bits. ecdsa-384, ecdsa-521 and rsa-1024 are types too.
func NewKey(t testing.TB, typ string) *Key {
	t.Helper()
	return newKeyAt(t, filepath.Join(t.TempDir(), "id_"+typ), typ)
}

func newKeyAt(t testing.TB, path, typ string) *Key {
	t.Helper()
	var private crypto.Signer
	var err error
	switch typ {
	case "ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ecdsa-521":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "rsa":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "rsa-1024":
		private, err = rsa.GenerateKey(rand.Reader, 1024)
	default:
		err = fmt.Errorf("no key type %q; there are %v", typ, KeyTypes)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "testpeer")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(pem.EncodeToMemory(block)))
	k := &Key{Path: path, Private: private, Signer: signer, Public: signer.PublicKey()}
	writeFile(t, path+".pub", k.Line()+"\n")
	return k
}

// NewSigner makes an Ed25519 key pair that stands in no file.
func NewSigner(t testing.TB) gossh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// Line is the public key as authorized_keys has it, without a line end.
func (k *Key) Line() string {
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(k.Public)))
}

var certSerial atomic.Int64

// Certify has ca sign the key with ssh-keygen and returns the certificate,
// which stands at Path-cert.pub, where OpenSSH looks for it. A host certificate
// needs kind "host" and the host's names as principals, a user certificate
// "user" and user names. More options go to ssh-keygen as they are (-V, -O).
func (k *Key) Certify(t testing.TB, ca *Key, kind string, principals []string, options ...string) *gossh.Certificate {
	t.Helper()
	args := []string{"-q", "-s", ca.Path, "-I", "testpeer", "-z", fmt.Sprint(certSerial.Add(1)), "-n", strings.Join(principals, ",")}
	if kind == "host" {
		args = append(args, "-h")
	}
	args = append(append(args, options...), k.Path+".pub")
	run(t, exec.Command(find(t, "ssh-keygen"), args...))
	line, err := os.ReadFile(k.Path + "-cert.pub")
	if err != nil {
		t.Fatal(err)
	}
	public, _, _, _, err := gossh.ParseAuthorizedKey(line)
	if err != nil {
		t.Fatal(err)
	}
	cert, ok := public.(*gossh.Certificate)
	if !ok {
		t.Fatalf("ssh-keygen made a %s, not a certificate", public.Type())
	}
	return cert
}

// writeFile writes a file that only its owner may read: SSH programs refuse
// keys that others can read.
func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a helper program to its end.
func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	if cmd.Env == nil {
		cmd.Env = cleanEnv(t.TempDir())
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}
