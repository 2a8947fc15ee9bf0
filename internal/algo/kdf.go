package algo

import "crypto"

// DeriveKey derives n bytes of key material (RFC 4253, section 7.2). k is the
// shared secret as it stands in the hash: framed, length first. letter is 'A' to
// 'F'.
func DeriveKey(hash crypto.Hash, k, h, sessionID []byte, letter byte, n int) []byte {
	d := hash.New()
	d.Write(k)
	d.Write(h)
	d.Write([]byte{letter})
	d.Write(sessionID)
	key := d.Sum(nil)
	for len(key) < n {
		d.Reset()
		d.Write(k)
		d.Write(h)
		d.Write(key)
		key = d.Sum(key)
	}
	return key[:n]
}
