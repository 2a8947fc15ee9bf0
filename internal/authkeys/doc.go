// Package authkeys reads the files by which a server knows its users' keys:
// authorized_keys (sshd(8), "AUTHORIZED_KEYS FILE FORMAT") and lists of trusted
// certificate authorities (sshd_config(5), TrustedUserCAKeys).
//
// ParseKeys and ParseCAs turn a file into Keys and CAs; lines that can't be
// understood are skipped with a Warning, so that one typing error locks out one
// key and not everybody, and never grants more than was written. Check answers
// whether a key may log in and with which Options. User certificates (OpenSSH
// PROTOCOL.certkeys) are checked in full: authority, signature, type, validity,
// principals, critical options.
//
// Security keys: a touch is demanded always, no-touch-required changes nothing.
// verify-required is refused, in files and in certificates, since the layers
// above can't enforce it.
//
// The package reads no files by itself and knows nothing of connections: the
// caller has verified, or will verify, that the client holds the key.
package authkeys
