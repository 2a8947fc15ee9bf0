// Package algo holds SSH's algorithms as pure values: key exchange methods,
// packet ciphers with their integrity, host key signatures and key derivation.
//
// It does no I/O, starts no goroutine and keeps no state beyond keys. All
// primitives come from the standard library and golang.org/x/crypto. Names are
// looked up with LookupKex, LookupCipher and LookupMAC; the Default functions
// give the order in which a side offers them, which follows OpenSSH but for
// putting AES-GCM first where the CPU has AES.
//
// sntrup761x25519-sha512 is absent: no maintained Go module implements
// sntrup761, and we do not write primitives. No SHA-1, CBC or DSA either.
package algo
