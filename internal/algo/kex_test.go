package algo

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// kexForTest returns a value of the method; for group exchange in group 14.
func kexForTest(t testing.TB, m KexMethod) Kex {
	t.Helper()
	if !m.Gex {
		return m.New()
	}
	p, g, err := ChooseGroup(2048, 2048, 8192)
	if err != nil {
		t.Fatal(err)
	}
	x, err := NewGroupKex(p, g)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestKexAgrees(t *testing.T) {
	for _, m := range kexMethods {
		t.Run(m.Name, func(t *testing.T) {
			if !m.Hash.Available() {
				t.Fatalf("hash %v is not linked in", m.Hash)
			}
			client, server := kexForTest(t, m), kexForTest(t, m)
			share, err := client.Init(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			answer, k, err := server.Respond(rand.Reader, share)
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.Finish(answer)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, k) {
				t.Errorf("client has K %x, server %x", got, k)
			}
		})
	}
}
