package authkeys

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// newCert returns a user certificate for alice, valid around testTime, after
// change.
func newCert(t testing.TB, ca gossh.Signer, change func(*gossh.Certificate)) *gossh.Certificate {
	t.Helper()
	c := &gossh.Certificate{
		Key: testpeer.NewSigner(t).PublicKey(), CertType: gossh.UserCert, KeyId: "id", ValidPrincipals: []string{"alice"},
		ValidAfter: uint64(testTime.Add(-time.Hour).Unix()), ValidBefore: uint64(testTime.Add(time.Hour).Unix()),
		Permissions: gossh.Permissions{
			CriticalOptions: map[string]string{},
			Extensions:      map[string]string{extPortForwarding: "", "future@example.org": "x"},
		},
	}
	if change != nil {
		change(c)
	}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificates(t *testing.T) {
	ca := testpeer.NewSigner(t)
	for _, tt := range []struct {
		name   string
		change func(*gossh.Certificate)
		want   string // in the error; empty: accepted
	}{
		{"good", nil, ""},
		{"host certificate", func(c *gossh.Certificate) { c.CertType = gossh.HostCert }, "not a user's"},
		{"somebody else", func(c *gossh.Certificate) { c.ValidPrincipals = []string{"bob"} }, "is for"},
		{"no principals", func(c *gossh.Certificate) { c.ValidPrincipals = nil }, "is for"},
		{"expired", func(c *gossh.Certificate) { c.ValidBefore = uint64(testTime.Unix()) }, "expired"},
		{"not yet valid", func(c *gossh.Certificate) { c.ValidAfter = uint64(testTime.Unix()) + 1 }, "not yet valid"},
		{"forever", func(c *gossh.Certificate) { c.ValidBefore = gossh.CertTimeInfinity }, ""},
		{"unknown critical option", func(c *gossh.Certificate) { c.CriticalOptions["x@example.org"] = "" }, "critical option"},
		{"verify-required", func(c *gossh.Certificate) { c.CriticalOptions["verify-required"] = "" }, "critical option"},
		{"source-address", func(c *gossh.Certificate) { c.CriticalOptions[critSourceAddress] = "10.0.0.0/8,192.0.2.7" }, ""},
		{"other source-address", func(c *gossh.Certificate) { c.CriticalOptions[critSourceAddress] = "10.0.0.0/8" }, "from 192.0.2.7"},
		{"bad source-address", func(c *gossh.Certificate) { c.CriticalOptions[critSourceAddress] = "*" }, "source-address"},
		{"small key", func(c *gossh.Certificate) { c.Key = testpeer.NewKey(t, "rsa-1024").Public }, "too small"},
		{"empty source-address", func(c *gossh.Certificate) { c.CriticalOptions[critSourceAddress] = "" }, "source-address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert := newCert(t, ca, tt.change)
			keys := mustParse(t, "cert-authority "+keyLine(ca.PublicKey()))
			cas, _, err := ParseCAs(strings.NewReader(keyLine(ca.PublicKey())), "cas")
			if err != nil {
				t.Fatal(err)
			}
			for name, check := range map[string]func(Query) (*Options, error){"keys": keys.Check, "cas": cas.Check} {
				o, err := check(query(cert))
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("%s: refused: %v", name, err)
				case tt.want == "" && (!o.PortForwarding || o.PTY):
					t.Errorf("%s: got %+v, want what the extensions permit", name, o)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("%s: %v, want %q", name, err, tt.want)
				}
			}
		})
	}
}

func TestCertificateSignatureIsChecked(t *testing.T) {
	ca, other := testpeer.NewSigner(t), testpeer.NewSigner(t)
	cert := newCert(t, other, nil)
	cert.SignatureKey = ca.PublicKey() // claims an authority that did not sign
	if o, err := mustParse(t, "cert-authority "+keyLine(ca.PublicKey())).Check(query(cert)); err == nil {
		t.Errorf("forged certificate is taken: %+v", o)
	}
	cert = newCert(t, ca, nil)
	cert.ValidPrincipals = append(cert.ValidPrincipals, "root")
	q := query(cert)
	q.User = "root"
	if o, err := mustParse(t, "cert-authority "+keyLine(ca.PublicKey())).Check(q); err == nil {
		t.Errorf("altered certificate is taken: %+v", o)
	}
}

func TestKeysAndCertificatesAreNotConfused(t *testing.T) {
	ca := testpeer.NewSigner(t)
	cert := newCert(t, ca, nil)
	for _, tt := range []struct {
		name, file string
		key        gossh.PublicKey
	}{
		{"a certificate on a line for its key", keyLine(cert.Key), cert},
		{"a certificate on a line for its authority's key", keyLine(ca.PublicKey()), cert},
		{"an authority's key as a user's", "cert-authority " + keyLine(ca.PublicKey()), ca.PublicKey()},
		{"a certificate's key by way of its authority", "cert-authority " + keyLine(ca.PublicKey()), cert.Key},
		{"a certificate's key as authority", "cert-authority " + keyLine(cert.Key), cert},
	} {
		if o, err := mustParse(t, tt.file).Check(query(tt.key)); !errors.Is(err, ErrNotListed) {
			t.Errorf("%s: %+v, %v", tt.name, o, err)
		}
	}
	cas, _, err := ParseCAs(strings.NewReader(keyLine(ca.PublicKey())), "cas")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []gossh.PublicKey{ca.PublicKey(), cert.Key} {
		if o, err := cas.Check(query(k)); !errors.Is(err, ErrNotListed) {
			t.Errorf("plain key in a file of authorities: %+v, %v", o, err)
		}
	}
	_, warnings, err := ParseKeys(strings.NewReader(keyLine(cert)), "keys")
	if err != nil || len(warnings) != 1 {
		t.Errorf("certificate in place of a key: %v, %v", warnings, err)
	}
}

func TestAuthorityLineOptions(t *testing.T) {
	ca := testpeer.NewSigner(t)
	cert := newCert(t, ca, func(c *gossh.Certificate) {
		c.ValidPrincipals = []string{"ops"}
		c.Extensions[extPTY] = ""
	})
	if _, err := mustParse(t, "cert-authority "+keyLine(ca.PublicKey())).Check(query(cert)); err == nil {
		t.Error("the user's name is not among the principals, and it passed")
	}
	o, err := mustParse(t, `cert-authority,principals="dev, ops",no-pty,permitopen="db:1" `+keyLine(ca.PublicKey())).Check(query(cert))
	want := &Options{PortForwarding: true, PermitOpen: []HostPort{{"db", 1}}}
	if err != nil || !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v, %v, want %+v", o, err, want)
	}
	forced := newCert(t, ca, func(c *gossh.Certificate) { c.CriticalOptions[critForceCommand] = "ls" })
	o, err = mustParse(t, `cert-authority,command="ls" `+keyLine(ca.PublicKey())).Check(query(forced))
	if err != nil || !o.Forced || o.Command != "ls" {
		t.Errorf("the same command twice: %+v, %v", o, err)
	}
	if _, err = mustParse(t, `cert-authority,command="id" `+keyLine(ca.PublicKey())).Check(query(forced)); !errors.Is(err, errTwoCommands) {
		t.Errorf("two commands: %v", err)
	}
	_, warnings, err := ParseCAs(strings.NewReader("restrict "+keyLine(ca.PublicKey())+"\nbad\n"), "cas")
	if err != nil || len(warnings) != 2 || warnings[0].Line != 1 {
		t.Errorf("options in a file of authorities: %v, %v", warnings, err)
	}
}

func TestSourceAddressNeedsAnAddress(t *testing.T) {
	ca := testpeer.NewSigner(t)
	cert := newCert(t, ca, func(c *gossh.Certificate) { c.CriticalOptions[critSourceAddress] = "0.0.0.0/0,::/0" })
	q := query(cert)
	q.Addr = netip.Addr{}
	if _, err := mustParse(t, "cert-authority "+keyLine(ca.PublicKey())).Check(q); err == nil {
		t.Error("a client without an address passes source-address")
	}
}

// ssh-keygen makes keys and certificates as users have them.
func TestKeysAndCertificatesOfSSHKeygen(t *testing.T) {
	testpeer.Need(t, "ssh-keygen")
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("ssh-keygen", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
		}
	}
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	run("-q", "-t", "ecdsa", "-N", "", "-f", "ca", "-C", "the authority")
	for _, typ := range []string{"ed25519", "ecdsa", "rsa"} {
		run("-q", "-t", typ, "-N", "", "-f", typ, "-C", "a comment with \"quotes\"")
		run("-q", "-s", "ca", "-I", "id", "-n", "alice,ops", "-V", "-1h:+1h", "-O", "clear", "-O", "permit-port-forwarding",
			"-O", "force-command=/bin/false", "-O", "source-address=192.0.2.0/24,2001:db8::/32", typ+".pub")
		key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(read(typ + ".pub")))
		if err != nil {
			t.Fatal(err)
		}
		if o, err := mustParse(t, read(typ+".pub")).Check(query(key)); err != nil || !o.PTY {
			t.Errorf("%s key: %+v, %v", typ, o, err)
		}
		cert, _, _, _, err := gossh.ParseAuthorizedKey([]byte(read(typ + "-cert.pub")))
		if err != nil {
			t.Fatal(err)
		}
		q := query(cert)
		q.Now = time.Now()
		cas, warnings, err := ParseCAs(strings.NewReader(read("ca.pub")), "ca.pub")
		if err != nil || len(warnings) > 0 {
			t.Fatal(err, warnings)
		}
		want := &Options{PortForwarding: true, Forced: true, Command: "/bin/false"}
		if o, err := cas.Check(q); err != nil || !reflect.DeepEqual(o, want) {
			t.Errorf("%s certificate: %+v, %v, want %+v", typ, o, err, want)
		}
		q.Addr = netip.MustParseAddr("198.51.100.1")
		if _, err := cas.Check(q); err == nil {
			t.Errorf("%s certificate: taken from an address that it does not name", typ)
		}
	}
}
