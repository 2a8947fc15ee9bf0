package knownhosts

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// What a host is called, from its key: by plain lines, hashed ones, patterns, and
// by certificates of authorities that are known.
func TestNames(t *testing.T) {
	signer := func() gossh.Signer { return testpeer.NewSigner(t) }
	plain, hashed, wild, revoked, certified, ca, stranger := signer(), signer(), signer(), signer(), signer(), signer(), signer()
	line := func(names string, s gossh.Signer) string {
		return names + " " + string(gossh.MarshalAuthorizedKey(s.PublicKey()))
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	text := line("db.example.com,10.0.0.1,!not.example.com", plain) + line("[db]:2222", plain) + line("db.example.com", plain) +
		Line(Host{"web", 22}, hashed.PublicKey(), true) + "\n" + line("*.wild.example.com", wild) +
		line("old", revoked) + "@revoked " + line("*", revoked) + "@cert-authority " + line("*.example.com", ca)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(change func(*gossh.Certificate)) gossh.PublicKey {
		t.Helper()
		cert := &gossh.Certificate{Key: certified.PublicKey(), CertType: gossh.HostCert, ValidBefore: gossh.CertTimeInfinity, ValidPrincipals: []string{"a.example.com", "a.elsewhere"}}
		if change != nil {
			change(cert)
		}
		if err := cert.SignCert(rand.Reader, ca); err != nil {
			t.Fatal(err)
		}
		return cert
	}
	for _, tt := range []struct {
		name  string
		key   gossh.PublicKey
		names string
		more  bool
		is    string
		not   string
	}{
		{"plain", plain.PublicKey(), "db.example.com 10.0.0.1 [db]:2222", false, "[db]:2222", "web"},
		{"hashed", hashed.PublicKey(), "", true, "web", "db.example.com"},
		{"a pattern", wild.PublicKey(), "", true, "a.wild.example.com", "wild.example.com"},
		{"revoked", revoked.PublicKey(), "", false, "", "old"},
		{"certified", certificate(nil), "a.example.com", false, "a.example.com", "a.elsewhere"},
		{"certified, but over", certificate(func(c *gossh.Certificate) { c.ValidBefore = 1 }), "", false, "", "a.example.com"},
		{"certified as a user", certificate(func(c *gossh.Certificate) { c.CertType = gossh.UserCert }), "", false, "", "a.example.com"},
		{"a stranger", stranger.PublicKey(), "", false, "", "db.example.com"},
	} {
		names, more := db.Names(tt.key, time.Now())
		if got := strings.Join(names, " "); got != tt.names || more != tt.more {
			t.Errorf("%s: got %q, %v, want %q, %v", tt.name, got, more, tt.names, tt.more)
		}
		if tt.is != "" && !db.Is(tt.key, tt.is, time.Now()) {
			t.Errorf("%s: it is not %s", tt.name, tt.is)
		}
		if db.Is(tt.key, tt.not, time.Now()) {
			t.Errorf("%s: it is %s", tt.name, tt.not)
		}
	}
}
