package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// TestScriptDevices runs testdata/devices: keys in devices at $SK_PROVIDER, with its
// file $SK, and $TOKEN_PROVIDER, whose PIN is 1234, before sshd, which lets both in.
func TestScriptDevices(t *testing.T) {
	testpeer.Need(t, "curl", "sshd", "ssh", "ssh-add", "ssh-keygen", "sk-dummy", "softhsm", "softhsm2-util")
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})

	sk := filepath.Join(dir, "sk")
	run("ssh-keygen", "-q", "-t", "ed25519-sk", "-N", "", "-f", sk, "-w", testpeer.SKProvider)
	line, err := os.ReadFile(sk + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	s.Authorize(t, string(line))

	conf := write("softhsm2.conf", []byte("directories.tokendir = "+dir+"\n"))
	t.Setenv("SOFTHSM2_CONF", conf)
	run("softhsm2-util", "--init-token", "--free", "--label", "adit", "--pin", "1234", "--so-pin", "12345678")
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	file := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
	run("softhsm2-util", "--import", file, "--token", "adit", "--label", "a token's key", "--id", "01", "--pin", "1234")
	public, err := gossh.NewPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s.Authorize(t, string(gossh.MarshalAuthorizedKey(public)))

	runScripts(t, "testdata/devices", map[string]string{
		"PORT": strconv.Itoa(s.Port()), "KNOWN": s.KnownHosts(t), "SK": sk, "SK_PROVIDER": testpeer.SKProvider, "TOKEN_PROVIDER": testpeer.TokenProvider, "SOFTHSM2_CONF": conf,
	})
}
