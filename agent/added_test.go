package agent

import (
	"slices"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// A request with a private key is made in one piece of memory, which who makes it
// overwrites: what grows leaves copies behind.
func TestAddRequestDoesNotGrow(t *testing.T) {
	want := cap(slices.Grow([]byte(nil), addRoom))
	for _, k := range keyPairs(t) {
		for _, cert := range []*gossh.Certificate{nil, k.cert} {
			if got := cap(addRequest(t, AddedKey{PrivateKey: k.private, Certificate: cert, Comment: "user", Destinations: []Destination{only(-1, 0)}})); got != want {
				t.Errorf("%s: the memory has grown to %d bytes", k.name, got)
			}
		}
	}
}
