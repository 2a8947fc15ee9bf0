package algo

import (
	"crypto"
	_ "crypto/sha256" // registers crypto.SHA256
	_ "crypto/sha512" // registers crypto.SHA384 and crypto.SHA512
	"runtime"
	"slices"

	"golang.org/x/sys/cpu"
)

// KexMethod is a key exchange method by name.
type KexMethod struct {
	Name string
	Hash crypto.Hash // of the exchange hash and of key derivation
	Gex  bool        // group exchange: the group comes first, then NewGroupKex
	New  func() Kex  // nil with Gex
}

var kexMethods = []KexMethod{
	{Name: "mlkem768x25519-sha256", Hash: crypto.SHA256, New: newMLKEM},
	{Name: "curve25519-sha256", Hash: crypto.SHA256, New: newX25519},
	{Name: "curve25519-sha256@libssh.org", Hash: crypto.SHA256, New: newX25519},
	{Name: "ecdh-sha2-nistp256", Hash: crypto.SHA256, New: newP256},
	{Name: "ecdh-sha2-nistp384", Hash: crypto.SHA384, New: newP384},
	{Name: "ecdh-sha2-nistp521", Hash: crypto.SHA512, New: newP521},
	{Name: "diffie-hellman-group-exchange-sha256", Hash: crypto.SHA256, Gex: true},
	{Name: "diffie-hellman-group16-sha512", Hash: crypto.SHA512, New: newGroup(16)},
	{Name: "diffie-hellman-group18-sha512", Hash: crypto.SHA512, New: newGroup(18)},
	{Name: "diffie-hellman-group14-sha256", Hash: crypto.SHA256, New: newGroup(14)},
}

// LookupKex returns the key exchange method of that name.
func LookupKex(name string) (KexMethod, bool) {
	return lookup(kexMethods, func(m KexMethod) bool { return m.Name == name })
}

// LookupCipher returns the cipher of that name.
func LookupCipher(name string) (Cipher, bool) {
	return lookup(ciphers, func(c Cipher) bool { return c.Name == name })
}

// LookupMAC returns the MAC of that name.
func LookupMAC(name string) (MAC, bool) {
	return lookup(macs, func(m MAC) bool { return m.Name == name })
}

func lookup[T any](list []T, match func(T) bool) (v T, ok bool) {
	if i := slices.IndexFunc(list, match); i >= 0 {
		return list[i], true
	}
	return v, false
}

// DefaultKex returns the client's key exchange methods, most wanted first.
func DefaultKex() []string {
	var names []string
	for _, m := range kexMethods {
		names = append(names, m.Name)
	}
	return names
}

// ServerKex returns a server's methods. The NIST curves are left out, since
// every client that knows them knows curve25519 as well, and so is group 14,
// whose 2048 bits are the least that is allowed.
func ServerKex() []string {
	return []string{"mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org",
		"diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512", "diffie-hellman-group-exchange-sha256"}
}

// DefaultCiphers returns the ciphers, most wanted first: AES-GCM where the CPU
// has AES instructions, since nothing else is as fast there, otherwise
// chacha20-poly1305.
func DefaultCiphers() []string {
	const chacha = "chacha20-poly1305@openssh.com"
	gcm := []string{"aes128-gcm@openssh.com", "aes256-gcm@openssh.com"}
	ctr := []string{"aes128-ctr", "aes192-ctr", "aes256-ctr"}
	if hasAES() {
		return slices.Concat(gcm, []string{chacha}, ctr)
	}
	return slices.Concat([]string{chacha}, gcm, ctr)
}

func hasAES() bool {
	switch runtime.GOARCH {
	case "amd64", "386":
		return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ
	case "arm64":
		return runtime.GOOS == "darwin" || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
	case "s390x":
		return cpu.S390X.HasAESGCM
	case "ppc64le":
		return true
	}
	return false
}

// DefaultMACs returns the MACs, most wanted first: those that encrypt first.
func DefaultMACs() []string {
	return append(ServerMACs(), "hmac-sha2-256", "hmac-sha2-512")
}

// ServerMACs returns a server's MACs: only those that encrypt first.
func ServerMACs() []string {
	return []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"}
}
