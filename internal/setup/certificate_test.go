package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// A certificate that lies elsewhere than beside its key lets a person in.
func TestCertificateFile(t *testing.T) {
	testpeer.Need(t, "sshd", "ssh-keygen")
	ca := testpeer.NewKey(t, "ed25519")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"TrustedUserCAKeys " + ca.Path + ".pub"}})
	for _, typ := range []string{"ed25519", "rsa"} {
		key := testpeer.NewKey(t, typ)
		key.Certify(t, ca, "user", []string{s.User})
		dir := t.TempDir()
		cert := filepath.Join(dir, "elsewhere")
		if err := os.Rename(key.Path+"-cert.pub", cert); err != nil {
			t.Fatal(err)
		}
		o, notices, err := options(t, fmt.Sprintf("HostName %s\nPort %d\nUser %s\nIdentityFile %s\nCertificateFile %s\nCertificateFile %s\nCertificateFile %s\nIdentityAgent none\nUserKnownHostsFile %s\nGlobalKnownHostsFile none\nBatchMode yes\n",
			s.Host(), s.Port(), s.User, key.Path, filepath.Join(dir, "missing"), ca.Path+".pub", cert, s.KnownHosts(t)))
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := o.Config()
		if err != nil {
			t.Fatal(err)
		}
		target, err := o.Target()
		if err != nil {
			t.Fatal(err)
		}
		c, err := adit.Dial(t.Context(), target, cfg)
		if err != nil {
			t.Errorf("%s: %v; told: %q", typ, err, *notices)
			continue
		}
		c.Close()
		told := strings.Join(*notices, "\n")
		if len(*notices) != 2 || !strings.Contains(told, "missing") || !strings.Contains(told, "it is a plain key") {
			t.Errorf("%s: told %q, want a word about the missing file and the plain key", typ, *notices)
		}
	}
	o := &Options{CertificateFiles: []string{filepath.Join(t.TempDir(), "c")}}
	orphan := testpeer.NewKey(t, "ed25519")
	orphan.Certify(t, ca, "user", []string{"x"})
	if err := os.Rename(orphan.Path+"-cert.pub", o.CertificateFiles[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := o.certificate(o.CertificateFiles[0], nil); err == nil || !strings.Contains(err.Error(), "neither in a file nor in the agent") {
		t.Errorf("a certificate without its key: %v", err)
	}
}
