package knownhosts

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

func newKey(t testing.TB) (gossh.Signer, string) {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := gossh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return s, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(s.PublicKey())))
}

func load(t *testing.T, text string) *DB {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Load(file, file+".missing")
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestCheck has the rows in which other libraries differ from OpenSSH.
func TestCheck(t *testing.T) {
	s, key := newKey(t)
	_, other := newKey(t)
	host, far := Host{"host", 22}, Host{"host", 2222}
	for name, c := range map[string]struct {
		text string
		host Host
		want string // "", "unknown", "mismatch", "revoked"
	}{
		"plain":                     {"host " + key, host, ""},
		"capitals":                  {"HOST " + key, host, ""},
		"with a port":               {"[host]:2222 " + key, far, ""},
		"plain entry, another port": {"host " + key, far, ""},
		"plain entry with another key, another port": {"host " + other, far, "unknown"},
		"port entry with another key":                {"[host]:2222 " + other + "\nhost " + key, far, "mismatch"},
		"port entry, default port":                   {"[host]:2222 " + key, host, "unknown"},
		"wildcard":                                   {"h*t,other " + key, host, ""},
		"wildcard, another port":                     {"*st " + key, far, ""},
		"negation":                                   {"*,!host " + key, host, "unknown"},
		"another key":                                {"host " + other, host, "mismatch"},
		"one of two":                                 {"host " + other + "\nhost " + key, host, ""},
		"broken lines around it":                     {"host\nhost ssh-ed25519 !!!\nhost ssh-rsa " + strings.Fields(key)[1] + "\n@what host " + key + "\nhost " + key, host, ""},
		"revoked for another host":                   {"host " + key + "\n@revoked elsewhere " + key, host, "revoked"},
		"hashed":                                     {Line(host, s.PublicKey(), true), host, ""},
		"hashed with a port":                         {Line(far, s.PublicKey(), true), far, ""},
		"hashed, another host":                       {Line(Host{"else", 22}, s.PublicKey(), true), host, "unknown"},
		"authority for a bare key":                   {"@cert-authority host " + key, host, "unknown"},
		"nothing":                                    {"# a comment\n\n", host, "unknown"},
		"a hash that is no hash":                     {"|1|x|y " + key, host, "unknown"},
	} {
		err := load(t, c.text).Check(c.host, s.PublicKey(), time.Now())
		got := ""
		switch {
		case err == nil:
		case errors.As(err, new(*UnknownError)):
			got = "unknown"
		case errors.As(err, new(*MismatchError)):
			got = "mismatch"
		case errors.As(err, new(*RevokedError)):
			got = "revoked"
		}
		if got != c.want {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, c.want)
		}
	}
}

func TestCertificate(t *testing.T) {
	ca, caLine := newKey(t)
	s, _ := newKey(t)
	now := time.Now()
	make := func(change func(*gossh.Certificate)) gossh.PublicKey {
		c := &gossh.Certificate{Key: s.PublicKey(), CertType: gossh.HostCert, ValidPrincipals: []string{"host"},
			ValidAfter: uint64(now.Add(-time.Hour).Unix()), ValidBefore: uint64(now.Add(time.Hour).Unix())}
		change(c)
		if err := c.SignCert(rand.Reader, ca); err != nil {
			t.Fatal(err)
		}
		return c
	}
	db := load(t, "@cert-authority *host "+caLine)
	for name, c := range map[string]struct {
		change func(*gossh.Certificate)
		host   Host
		ok     bool
	}{
		"valid":            {func(*gossh.Certificate) {}, Host{"host", 22}, true},
		"another port":     {func(*gossh.Certificate) {}, Host{"host", 2222}, true},
		"another name":     {func(*gossh.Certificate) {}, Host{"myhost", 22}, false},
		"expired":          {func(c *gossh.Certificate) { c.ValidBefore = uint64(now.Add(-time.Minute).Unix()) }, Host{"host", 22}, false},
		"not yet":          {func(c *gossh.Certificate) { c.ValidAfter = uint64(now.Add(time.Minute).Unix()) }, Host{"host", 22}, false},
		"a user's":         {func(c *gossh.Certificate) { c.CertType = gossh.UserCert }, Host{"host", 22}, false},
		"no principals":    {func(c *gossh.Certificate) { c.ValidPrincipals = nil }, Host{"host", 22}, false},
		"critical options": {func(c *gossh.Certificate) { c.CriticalOptions = map[string]string{"x": ""} }, Host{"host", 22}, false},
	} {
		if err := db.Check(c.host, make(c.change), now); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	_, key := newKey(t)
	db := load(t, "host "+key)
	got := db.Algorithms(Host{"host", 22}, []string{"rsa-sha2-512", "ssh-ed25519", "ecdsa-sha2-nistp256"})
	if strings.Join(got, ",") != "ssh-ed25519,rsa-sha2-512,ecdsa-sha2-nistp256" {
		t.Errorf("got %v, want the known type first", got)
	}
}

func TestAppend(t *testing.T) {
	s, key := newKey(t)
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := Append(file, Host{"a", 22}, s.PublicKey(), false); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(file, []byte("a "+key), 0o600) // no newline at its end
	if err := Append(file, Host{"b", 2222}, s.PublicKey(), false); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if want := "a " + key + "\n[b]:2222 " + key + "\n"; err != nil || string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
}

// FuzzParse checks that no line panics and that a usable one can be asked about.
func FuzzParse(f *testing.F) {
	_, key := newKey(f)
	f.Add("host " + key)
	f.Add("@revoked |1|a|b " + key)
	f.Add("*?*?*!a,b " + key)
	f.Fuzz(func(t *testing.T, line string) {
		db := new(DB)
		db.parse("f", []byte(line))
		for i := range db.Entries {
			db.Entries[i].matches("host")
		}
	})
}
