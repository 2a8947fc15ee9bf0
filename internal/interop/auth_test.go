package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// login dials and returns the attempts it took.
func login(t *testing.T, s *testpeer.Server, signers ...gossh.Signer) (string, error) {
	t.Helper()
	r := newRecorder()
	_, err := dialPeer(withLimit(t), t, s, r, adit.Config{Keys: adit.Keys(signers...)})
	return r.login(), err
}

const bound = "publickey-hostbound-v00@openssh.com"

// One key takes one request, bound to the host key: sshd sends EXT_INFO with its
// NEWKEYS.
func TestLoginTakesOneRequest(t *testing.T) {
	testpeer.Need(t, "sshd")
	for _, typ := range testpeer.KeyTypes {
		t.Run(typ, func(t *testing.T) {
			s := testpeer.SSHD(t, testpeer.SSHDOptions{UserKey: testpeer.NewKey(t, typ)})
			got, err := login(t, s, s.Key.Signer)
			if err != nil {
				t.Fatal(err)
			}
			if got != bound+" success" {
				t.Errorf("attempts: %s", got)
			}
		})
	}
}

func TestLoginWithManyKeys(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	other := testpeer.NewKey(t, "ecdsa").Signer
	got, err := login(t, s, other, s.Key.Signer, testpeer.NewKey(t, "rsa").Signer)
	if err != nil {
		t.Fatal(err)
	}
	if want := "probe " + bound + " failure, probe " + bound + " key accepted, " + bound + " success"; got != want {
		t.Errorf("attempts: %s\nwant: %s", got, want)
	}
	var wrong []gossh.Signer
	for range 8 {
		wrong = append(wrong, testpeer.NewKey(t, "ed25519").Signer)
	}
	got, err = login(t, s, wrong...)
	e, ok := errors.AsType[*adit.AuthError](err)
	if !ok || e.Err == nil || len(e.Tried) != 6 || !strings.Contains(err.Error(), "Too many authentication failures") {
		t.Errorf("eight wrong keys: %v (%s)", err, got)
	}
}

// The smallest RSA keys that OpenSSH takes, which nobody should have any more and
// some have: of a user, and of a server.
func TestSmallRSAKeys(t *testing.T) {
	testpeer.Need(t, "sshd")
	key := testpeer.NewKey(t, "rsa-1024")
	file := filepath.Join(t.TempDir(), "authorized_keys")
	if err := os.WriteFile(file, []byte(key.Line()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := testpeer.SSHD(t, testpeer.SSHDOptions{HostKeys: []string{"rsa-1024"}, Config: []string{"AuthorizedKeysFile " + file}})
	if got, err := login(t, s, key.Signer); err != nil {
		t.Errorf("got %v (%s), want a login", err, got)
	}
}

func TestLoginInTwoSteps(t *testing.T) {
	testpeer.Need(t, "sshd")
	a, b := testpeer.NewKey(t, "ed25519"), testpeer.NewKey(t, "rsa")
	file := filepath.Join(t.TempDir(), "authorized_keys")
	if err := os.WriteFile(file, []byte(a.Line()+"\n"+b.Line()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"AuthorizedKeysFile " + file, "AuthenticationMethods publickey,publickey"}})
	got, err := login(t, s, a.Signer, b.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if want := "probe " + bound + " key accepted, " + bound + " partial, " + bound + " success"; got != want {
		t.Errorf("attempts: %s\nwant: %s", got, want)
	}
	_, err = login(t, s, a.Signer)
	if e, ok := errors.AsType[*adit.AuthError](err); !ok || !strings.Contains(err.Error(), "right, but not enough") {
		t.Errorf("one key of two: %v (%+v)", err, e)
	}
}

func TestLoginWithCertificate(t *testing.T) {
	testpeer.Need(t, "sshd", "ssh-keygen")
	for _, typ := range testpeer.KeyTypes {
		t.Run(typ, func(t *testing.T) {
			ca, key := testpeer.NewKey(t, "ed25519"), testpeer.NewKey(t, typ)
			s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"TrustedUserCAKeys " + ca.Path + ".pub"}})
			cert, err := gossh.NewCertSigner(key.Certify(t, ca, "user", []string{s.User}), key.Signer)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := login(t, s, cert); err != nil || got != bound+" success" {
				t.Errorf("certificate: %v (%s)", err, got)
			}
			if _, err := login(t, s, key.Signer); err == nil {
				t.Error("the bare key is let in")
			}
		})
	}
}

// OpenSSH's client shows certificates, and keys of all types, to our server.
func TestOurServerTakesKeysAndCertificates(t *testing.T) {
	testpeer.Need(t, "ssh", "ssh-keygen")
	ca := testpeer.NewKey(t, "ecdsa")
	greeting := testpeer.GreetingTarget(t, "hello from inside")
	for _, typ := range testpeer.KeyTypes {
		for _, certified := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/certificate=%v", typ, certified), func(t *testing.T) {
				key, line := testpeer.NewKey(t, typ), ""
				if certified {
					line = "cert-authority,permitopen=\"" + greeting.Addr + "\" " + ca.Line()
					key.Certify(t, ca, "user", []string{"alice"}, "-O", "source-address=127.0.0.0/8")
				}
				e := startBastion(t, key, line, newRecorder())
				for user, in := range map[string]bool{"alice": true, "bob": !certified} {
					e.User = user
					out, err := exec.CommandContext(withLimit(t), "ssh", append(e.SSHArgs(t), "-W", greeting.Addr, e.Host())...).Output()
					if got := string(out) == "hello from inside"; got != in {
						t.Errorf("%s: got %q, %v, want login %v", user, out, err, in)
					}
				}
			})
		}
	}
}
