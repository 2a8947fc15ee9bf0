package algo

import (
	"crypto"
	"crypto/ecdh"
	"crypto/sha256"
	"crypto/sha512" // SHA-384 too
	"fmt"
	"hash"
	"runtime"
	"slices"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

// KexMethod is a key exchange method.
type KexMethod struct {
	Name string
	// Hash is the hash of the exchange hash and of key derivation. It is linked
	// in.
	Hash crypto.Hash
	// Gex says that the server chooses the group first (RFC 4419). New is nil
	// then: NewGroupKex takes its place.
	Gex bool
	// New returns a value for one exchange.
	New func() Kex
}

// Cipher is a packet cipher as it is negotiated.
type Cipher struct {
	Name string
	// KeyLen and IVLen are what is derived for it, in bytes.
	KeyLen, IVLen int
	// Block is the block size in bytes: what packets are padded to, and the
	// measure of how much may be encrypted under one key (RFC 4344, section 3).
	Block int
	// AEAD ciphers bring their own authentication; no MAC is negotiated.
	AEAD bool
	// New returns the cipher of one direction; seal says which, for ciphers that
	// would prepare one only (none of today's does). macKey and mac are those of
	// the negotiated MAC; AEAD ciphers ignore them. The keys may be cleared
	// afterwards. A length that is wrong is an error.
	New func(key, iv, macKey []byte, mac *MAC, seal bool) (PacketCipher, error)
}

// MAC is an integrity algorithm as it is negotiated.
type MAC struct {
	Name string
	// KeyLen is what is derived for it and TagLen what it adds to a packet, in
	// bytes.
	KeyLen, TagLen int
	// ETM MACs cover the ciphertext and leave the length in the clear.
	ETM bool

	hash func() hash.Hash
}

// kexMethods in the order of preference of OpenSSH 10.
//
// Its sntrup761x25519-sha512 is missing: there is no maintained Go
// implementation of Streamlined NTRU Prime 761 (CIRCL has none), and we do not
// write one. Servers from OpenSSH 9.9 on have ML-KEM, older ones fall back to
// curve25519-sha256.
var kexMethods = []KexMethod{
	{Name: "mlkem768x25519-sha256", Hash: crypto.SHA256, New: newMLKEM},
	{Name: "curve25519-sha256", Hash: crypto.SHA256, New: newX25519},
	{Name: "curve25519-sha256@libssh.org", Hash: crypto.SHA256, New: newX25519}, // its name before RFC 8731
	{Name: "ecdh-sha2-nistp256", Hash: crypto.SHA256, New: newECDH(ecdh.P256())},
	{Name: "ecdh-sha2-nistp384", Hash: crypto.SHA384, New: newECDH(ecdh.P384())},
	{Name: "ecdh-sha2-nistp521", Hash: crypto.SHA512, New: newECDH(ecdh.P521())},
	{Name: "diffie-hellman-group-exchange-sha256", Hash: crypto.SHA256, Gex: true},
	{Name: "diffie-hellman-group16-sha512", Hash: crypto.SHA512, New: newGroup(16)},
	{Name: "diffie-hellman-group18-sha512", Hash: crypto.SHA512, New: newGroup(18)},
	{Name: "diffie-hellman-group14-sha256", Hash: crypto.SHA256, New: newGroup(14)},
}

// ciphers in the order for machines with AES instructions.
var ciphers = []Cipher{
	newCipher("aes128-gcm@openssh.com", 16, 12, 16, newGCM),
	newCipher("aes256-gcm@openssh.com", 32, 12, 16, newGCM),
	newCipher(chachaName, chachaKey, 0, 8, newChacha),
	newCipherWithMAC("aes128-ctr", 16, 16, 16, newCTR),
	newCipherWithMAC("aes192-ctr", 24, 16, 16, newCTR),
	newCipherWithMAC("aes256-ctr", 32, 16, 16, newCTR),
}

const chachaName = "chacha20-poly1305@openssh.com"

var macs = []MAC{
	{Name: "hmac-sha2-256-etm@openssh.com", KeyLen: 32, TagLen: 32, ETM: true, hash: sha256.New},
	{Name: "hmac-sha2-512-etm@openssh.com", KeyLen: 64, TagLen: 64, ETM: true, hash: sha512.New},
	{Name: "hmac-sha2-256", KeyLen: 32, TagLen: 32, hash: sha256.New},
	{Name: "hmac-sha2-512", KeyLen: 64, TagLen: 64, hash: sha512.New},
}

// newCipher describes a cipher that brings its own authentication.
func newCipher(name string, keyLen, ivLen, block int, with func(key, iv []byte) (PacketCipher, error)) Cipher {
	c := newCipherWithMAC(name, keyLen, ivLen, block, nil)
	c.AEAD = true
	c.New = func(key, iv, _ []byte, _ *MAC, _ bool) (PacketCipher, error) {
		if err := c.check(key, iv); err != nil {
			return nil, err
		}
		return with(key, iv)
	}
	return c
}

// newCipherWithMAC describes a cipher that a MAC goes with.
func newCipherWithMAC(name string, keyLen, ivLen, block int,
	with func(key, iv, macKey []byte, mac *MAC) (PacketCipher, error)) Cipher {
	c := Cipher{Name: name, KeyLen: keyLen, IVLen: ivLen, Block: block}
	c.New = func(key, iv, macKey []byte, mac *MAC, _ bool) (PacketCipher, error) {
		if err := c.check(key, iv); err != nil {
			return nil, err
		}
		if mac == nil || len(macKey) != mac.KeyLen {
			return nil, fmt.Errorf("%s: no MAC, or a MAC key of %d bytes", c.Name, len(macKey))
		}
		return with(key, iv, macKey, mac)
	}
	return c
}

func (c Cipher) check(key, iv []byte) error {
	if len(key) != c.KeyLen || len(iv) != c.IVLen {
		return fmt.Errorf("%s: key of %d and IV of %d bytes where %d and %d belong", c.Name, len(key), len(iv), c.KeyLen, c.IVLen)
	}
	return nil
}

// LookupKex returns the method of that name.
func LookupKex(name string) (KexMethod, bool) {
	return lookup(kexMethods, name, func(m KexMethod) string { return m.Name })
}

// LookupCipher returns the cipher of that name.
func LookupCipher(name string) (Cipher, bool) {
	return lookup(ciphers, name, func(c Cipher) string { return c.Name })
}

// LookupMAC returns the MAC of that name.
func LookupMAC(name string) (MAC, bool) {
	return lookup(macs, name, func(m MAC) string { return m.Name })
}

func lookup[T any](list []T, name string, nameOf func(T) string) (T, bool) {
	for _, v := range list {
		if nameOf(v) == name {
			return v, true
		}
	}
	var none T
	return none, false
}

func names[T any](list []T, nameOf func(T) string) []string {
	all := make([]string, len(list))
	for i, v := range list {
		all[i] = nameOf(v)
	}
	return all
}

// SupportedKex lists every key exchange method. Like all lists here it is in
// order of preference and the caller's to change.
func SupportedKex() []string {
	return names(kexMethods, func(m KexMethod) string { return m.Name })
}

// SupportedCiphers lists every cipher.
func SupportedCiphers() []string {
	all := names(ciphers, func(c Cipher) string { return c.Name })
	if hasAES() {
		return all
	}
	// Without AES instructions AES is slower than ChaCha20, and where it uses
	// tables not constant in time.
	all = slices.DeleteFunc(all, func(name string) bool { return name == chachaName })
	return slices.Insert(all, 0, chachaName)
}

// hasAES reports whether the processor has instructions for AES and for GCM's
// multiplication.
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

// SupportedMACs lists every MAC.
func SupportedMACs() []string {
	return names(macs, func(m MAC) string { return m.Name })
}

// SupportedHostKeys lists every host key algorithm, ssh-rsa with its SHA-1
// included, which is no default.
func SupportedHostKeys() []string {
	return names(hostKeyAlgos, func(a hostKeyAlgo) string { return a.name })
}

// DefaultKex lists the methods that a client offers: all of them.
func DefaultKex() []string { return SupportedKex() }

// DefaultCiphers lists the ciphers that either side offers: all of them.
func DefaultCiphers() []string { return SupportedCiphers() }

// DefaultMACs lists the MACs that a client offers: all of them.
func DefaultMACs() []string { return SupportedMACs() }

// DefaultHostKeys lists the host key algorithms that a client accepts: all but
// ssh-rsa.
func DefaultHostKeys() []string {
	return slices.DeleteFunc(SupportedHostKeys(), func(name string) bool { return name == gossh.KeyAlgoRSA })
}

// CompressionDelayed is zlib (RFC 4253, section 6.2) from the login on (OpenSSH
// PROTOCOL, section 1.2).
const CompressionDelayed = "zlib@openssh.com"

// SupportedCompression lists what either side can do about compression. Plain
// "zlib" is not among them, as in OpenSSH's server since 7.4: it would have
// whoever has not logged in reach the decompressor.
func SupportedCompression() []string { return []string{"none", CompressionDelayed} }

// DefaultCompression is what both sides offer: none, and the other one for a peer
// that insists.
func DefaultCompression() []string { return SupportedCompression() }

// SignatureAlgorithms lists the signatures that a server accepts from users,
// what it announces as server-sig-algs (RFC 8308, section 3.1): no SHA-1, no
// names of certificates.
func SignatureAlgorithms() []string {
	return names(plainAlgos, func(a hostKeyAlgo) string { return a.name })
}

// ServerKex lists the methods that a server of ours offers. It is
// shorter than a client's list because a server meets new clients while a
// client meets old servers, and so that ssh-audit finds nothing to blame:
//
//   - no ecdh-sha2-nistp*: curves of unexplained origin;
//   - no group14: 2048 bits are 112 bits of strength;
//   - no group exchange: the client decides how small the group is, and what
//     it costs us; clients that lack every method here are many years old.
//
// Two remarks of ssh-audit stay. Debian's release 2.5 calls ML-KEM and the
// marker of strict key exchange "unknown algorithm", being older than both; new
// releases warn of every method that is not post-quantum, but clients without
// ML-KEM are still many.
func ServerKex() []string {
	return []string{
		"mlkem768x25519-sha256",
		"curve25519-sha256",
		"curve25519-sha256@libssh.org",
		"diffie-hellman-group16-sha512",
		"diffie-hellman-group18-sha512",
	}
}

// ServerMACs lists the MACs that a server of ours offers: those that
// encrypt before they authenticate. ssh-audit warns of the others.
func ServerMACs() []string {
	return slices.DeleteFunc(SupportedMACs(), func(name string) bool {
		m, _ := LookupMAC(name)
		return !m.ETM
	})
}
