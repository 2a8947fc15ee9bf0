package algo

import (
	"slices"
	"strings"
	"testing"
)

func TestListsAreKnownAndUnique(t *testing.T) {
	kex := func(n string) bool { m, ok := LookupKex(n); return ok && m.Name == n && (m.New != nil) == !m.Gex }
	cipher := func(n string) bool { c, ok := LookupCipher(n); return ok && c.Name == n }
	mac := func(n string) bool { m, ok := LookupMAC(n); return ok && m.Name == n }
	hostKey := func(n string) bool { a, ok := lookupHostKey(n); return ok && a.name == n }
	for _, tt := range []struct {
		name  string
		list  func() []string
		known func(string) bool
		n     int
	}{
		{"SupportedKex", SupportedKex, kex, 10},
		{"DefaultKex", DefaultKex, kex, 10},
		{"ServerKex", ServerKex, kex, 5},
		{"SupportedCiphers", SupportedCiphers, cipher, 6},
		{"DefaultCiphers", DefaultCiphers, cipher, 6},
		{"SupportedMACs", SupportedMACs, mac, 4},
		{"DefaultMACs", DefaultMACs, mac, 4},
		{"ServerMACs", ServerMACs, mac, 2},
		{"SupportedHostKeys", SupportedHostKeys, hostKey, 17},
		{"DefaultHostKeys", DefaultHostKeys, hostKey, 16},
		{"SignatureAlgorithms", SignatureAlgorithms, hostKey, 8},
	} {
		list := tt.list()
		if len(list) != tt.n {
			t.Errorf("%s has %d names, want %d: %q", tt.name, len(list), tt.n, list)
		}
		seen := map[string]bool{}
		for _, n := range list {
			if !tt.known(n) {
				t.Errorf("%s: %q is not known", tt.name, n)
			}
			if seen[n] {
				t.Errorf("%s: %q is there twice", tt.name, n)
			}
			seen[n] = true
		}
		list[0] = "changed by the caller"
		if tt.list()[0] == list[0] {
			t.Errorf("%s hands out its own slice", tt.name)
		}
	}
}

func TestHashesAreLinkedIn(t *testing.T) {
	for _, m := range kexMethods {
		if !m.Hash.Available() {
			t.Errorf("%s: hash %v is missing", m.Name, m.Hash)
		}
	}
}

// SHA-1, DSA and CBC are never offered unasked, nor is any name that tells them.
func TestDefaultsAreModern(t *testing.T) {
	all := slices.Concat(DefaultKex(), DefaultCiphers(), DefaultMACs(), DefaultHostKeys(), SignatureAlgorithms(), ServerKex(), ServerMACs())
	for _, n := range all {
		if n == "ssh-rsa" || strings.Contains(n, "sha1") || strings.Contains(n, "dss") || strings.Contains(n, "cbc") || strings.Contains(n, "md5") {
			t.Errorf("%s is offered by default", n)
		}
	}
	for _, n := range SignatureAlgorithms() {
		if IsCertificateAlgorithm(n) {
			t.Errorf("server-sig-algs names a certificate: %s", n)
		}
	}
	for _, n := range ServerMACs() {
		if m, _ := LookupMAC(n); !m.ETM {
			t.Errorf("a server offers %s", n)
		}
	}
}

func TestCipherOrderFollowsHardware(t *testing.T) {
	want := "chacha20-poly1305@openssh.com"
	if hasAES() {
		want = "aes128-gcm@openssh.com"
	}
	if got := DefaultCiphers()[0]; got != want {
		t.Errorf("first cipher is %s, want %s", got, want)
	}
}

func TestLookupUnknown(t *testing.T) {
	for _, n := range []string{"", "none", "aes128-cbc", "AES128-CTR", "mlkem768x25519-sha256 ", "kex-strict-c-v00@openssh.com"} {
		if _, ok := LookupKex(n); ok {
			t.Errorf("kex %q is known", n)
		}
		if _, ok := LookupCipher(n); ok {
			t.Errorf("cipher %q is known", n)
		}
		if _, ok := LookupMAC(n); ok {
			t.Errorf("MAC %q is known", n)
		}
	}
}
