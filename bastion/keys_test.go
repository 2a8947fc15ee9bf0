package bastion

import (
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

func TestKeys(t *testing.T) {
	plain, limited, shut, away, ca := testpeer.NewSigner(t), testpeer.NewSigner(t), testpeer.NewSigner(t), testpeer.NewSigner(t), testpeer.NewSigner(t)
	line := func(options string, k gossh.Signer) string {
		return options + string(gossh.MarshalAuthorizedKey(k.PublicKey()))
	}
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	for name, text := range map[string]string{
		one: line("", plain) + "nonsense\n" + line(`permitopen="db:5432",permitopen="[::1]:*" `, limited),
		two: line("restrict ", shut) + line(`from="10.0.0.0/8" `, away) + line(`cert-authority,permitopen="web:80" `, ca),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := LoadKeys(one, two)
	if err != nil {
		t.Fatal(err)
	}
	if len(keys.Warnings) != 1 || !strings.HasPrefix(keys.Warnings[0], one+":2: ") || keys.Len() != 5 {
		t.Errorf("%d keys, warnings %q", keys.Len(), keys.Warnings)
	}
	cert := &gossh.Certificate{
		Key: testpeer.NewSigner(t).PublicKey(), CertType: gossh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: gossh.CertTimeInfinity,
		Permissions: gossh.Permissions{Extensions: map[string]string{"permit-port-forwarding": ""}},
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, user string
		key        gossh.PublicKey
		host       string
		port       uint16
		in, allows bool
	}{
		{"plain", "anybody", plain.PublicKey(), "x", 1, true, true},
		{"permitopen", "anybody", limited.PublicKey(), "db", 5432, true, true},
		{"permitopen, address", "anybody", limited.PublicKey(), "::1", 9, true, true},
		{"permitopen, another port", "anybody", limited.PublicKey(), "db", 22, true, false},
		{"restrict", "anybody", shut.PublicKey(), "db", 5432, true, false},
		{"from elsewhere", "anybody", away.PublicKey(), "db", 5432, false, false},
		{"certificate", "alice", cert, "web", 80, true, true},
		{"certificate, another port", "alice", cert, "web", 81, true, false},
		{"certificate, another user", "bob", cert, "web", 80, false, false},
		{"unknown", "anybody", testpeer.NewSigner(t).PublicKey(), "x", 1, false, false},
	} {
		p := keys.Authorize(t.Context(), tt.user, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, tt.key)
		if (p != nil) != tt.in || p.Allows(tt.host, tt.port) != tt.allows {
			t.Errorf("%s: %+v, want login %v and %s:%d %v", tt.name, p, tt.in, tt.host, tt.port, tt.allows)
		}
	}
	if _, err := LoadKeys(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that does not exist is no error")
	}
}

// TestPermitOpen has the rules of sshd's open_match (channels.c).
func TestPermitOpen(t *testing.T) {
	for _, tt := range []struct {
		open string
		host string
		port uint16
		want bool
	}{
		{"db:5432", "db", 5432, true},
		{"db:5432", "db", 5433, false},
		{"db:5432", "DB", 5432, false},
		{"DB:5432", "db", 5432, false},
		{"db:5432", "db.", 5432, false},
		{"db:*", "db", 1, true},
		{"*:80", "anything", 80, true},
		{"*:80", "anything", 81, false},
		{"*:*", "::1", 65535, true},
		{"*.internal:80", "a.internal", 80, false},
		{"*.internal:80", "*.internal", 80, true},
		{"d?:80", "db", 80, false},
		{"[::1]:22", "::1", 22, true},
		{"[::1]:22", "0:0:0:0:0:0:0:1", 22, false},
		{"[a-z]:80", "b", 80, false},
		{"db", "db", 80, false},
		{"", "", 0, false},
	} {
		p := &Permissions{PermitOpen: []string{tt.open}}
		if got := p.Allows(tt.host, tt.port); got != tt.want {
			t.Errorf("permitopen %q, %s port %d: got %v, want %v", tt.open, tt.host, tt.port, got, tt.want)
		}
	}
	if !new(Permissions).Allows("db", 1) || (&Permissions{NoForwarding: true}).Allows("db", 1) || (*Permissions)(nil).Allows("db", 1) {
		t.Error("without permitopen all is allowed, with no-port-forwarding or without a login nothing")
	}
}
