package algo

import (
	"bytes"
	"crypto"
	"testing"
)

// Vectors made by testdata/vectors.py.
func TestDeriveKeyVectors(t *testing.T) {
	hashes := map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}
	for _, f := range readVectors(t, "kdf.txt", 6) {
		want := unhex(t, f[5])
		got := DeriveKey(hashes[f[0]], unhex(t, f[1]), unhex(t, f[2]), unhex(t, f[3]), f[4][0], len(want))
		if !bytes.Equal(got, want) {
			t.Errorf("%s, letter %s, %d bytes: got %x, want %x", f[0], f[4], len(want), got, want)
		}
	}
}

// RFC 4253, section 7.2: keys of several lengths begin alike.
func TestDeriveKeyLengths(t *testing.T) {
	long := DeriveKey(crypto.SHA256, []byte("k"), []byte("h"), []byte("id"), 'C', 100)
	for n := range 100 {
		if got := DeriveKey(crypto.SHA256, []byte("k"), []byte("h"), []byte("id"), 'C', n); !bytes.Equal(got, long[:n]) {
			t.Fatalf("%d bytes: got %x, want %x", n, got, long[:n])
		}
	}
}
