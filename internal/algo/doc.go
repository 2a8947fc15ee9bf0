// Package algo holds the cryptographic algorithms of the SSH transport as plain
// values: key exchange methods, packet ciphers, MACs, host key signatures and
// key derivation. It does no I/O, starts no goroutine and keeps no state beyond
// the keys of one value.
//
// It composes what the standard library and golang.org/x/crypto offer and
// invents nothing. What it adds is the framing that SSH puts around them:
// RFC 4253 (packets, keys, Diffie-Hellman), RFC 4344 (counter mode), RFC 4419
// (group exchange), RFC 5647 (AES-GCM, as OpenSSH names it), RFC 5656 (ECDH),
// RFC 6668 (HMAC), RFC 8268 (MODP groups), RFC 8332 (RSA), RFC 8731
// (Curve25519), the draft for mlkem768x25519-sha256, and OpenSSH's
// PROTOCOL.chacha20poly1305, PROTOCOL.certkeys and PROTOCOL.u2f.
//
// Entry points: LookupKex, LookupCipher and LookupMAC turn a negotiated name
// into something that runs, the Default and Supported functions list names in
// order of preference, VerifyHost and SignHost work on host keys, DeriveKey
// makes keys out of a shared secret, Plain is the cipher before there are keys.
package algo
