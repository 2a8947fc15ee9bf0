package algo

import "crypto"

// DeriveKey returns n bytes of key material (RFC 4253, section 7.2). k is the
// shared secret K framed as in the exchange hash, with its length in front; h
// is the exchange hash of this key exchange, sessionID that of the first one of
// the connection. letter says what the key is for:
//
//	'A', 'B'  initial IV, client to server and server to client
//	'C', 'D'  encryption key
//	'E', 'F'  integrity key
func DeriveKey(hash crypto.Hash, k, h, sessionID []byte, letter byte, n int) []byte {
	d := hash.New()
	d.Write(k)
	d.Write(h)
	d.Write([]byte{letter})
	d.Write(sessionID)
	out := d.Sum(make([]byte, 0, n+d.Size()))
	// A hash that is too short is continued with HASH(K || H || all so far).
	for len(out) < n {
		d.Reset()
		d.Write(k)
		d.Write(h)
		d.Write(out)
		out = d.Sum(out)
	}
	clear(out[n:])
	return out[:n:n]
}
