package algo

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// readVectors returns the fields of each line of a file in testdata, of which
// there are at least n.
func readVectors(t testing.TB, name string, n int) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < n {
			t.Fatalf("%s: %d fields in %q", name, len(f), line)
		}
		all = append(all, f)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no vectors", name)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	if s == "-" {
		return nil
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fill is a reader of one byte over and over.
type fill byte

func (f fill) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(f)
	}
	return len(b), nil
}

// Packets as OpenSSL's primitives make them, see testdata/vectors.py: sequence
// numbers and GCM's invocation counter wrap on the way.
func TestPacketVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range readVectors(t, "packets.txt", 7) {
		s := suite{}
		var ok bool
		if s.cipher, ok = LookupCipher(f[0]); !ok {
			t.Fatalf("no cipher %q", f[0])
		}
		if f[1] != "-" {
			m, ok := LookupMAC(f[1])
			if !ok {
				t.Fatalf("no MAC %q", f[1])
			}
			s.mac = &m
		}
		seen[s.String()] = true
		t.Run(s.String(), func(t *testing.T) {
			key, iv, macKey := unhex(t, f[2]), unhex(t, f[3]), unhex(t, f[4])
			sealer, err := s.cipher.New(key, iv, macKey, s.mac, true)
			if err != nil {
				t.Fatal(err)
			}
			opener, err := s.cipher.New(key, iv, macKey, s.mac, false)
			if err != nil {
				t.Fatal(err)
			}
			first, err := strconv.ParseUint(f[5], 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range f[6:] {
				seq := uint32(first) + uint32(i)
				size, want, _ := strings.Cut(v, ":")
				n, err := strconv.Atoi(size)
				if err != nil {
					t.Fatal(err)
				}
				payload := make([]byte, n)
				for j := range payload {
					payload[j] = byte(7*j + n)
				}
				wire := seal(sealer, seq, payload, fill(0xa5))
				if got := fmt.Sprintf("%x", sha256.Sum256(wire)); got != want {
					t.Fatalf("payload of %d: packet has SHA-256 %s, want %s", n, got, want)
				}
				if got, err := open(opener, seq, wire); err != nil || !bytes.Equal(got, payload) {
					t.Fatalf("payload of %d: opened to %x, %v", n, got, err)
				}
			}
		})
	}
	for _, s := range suites() {
		if s.cipher.Name != "none" && !seen[s.String()] {
			t.Errorf("no vectors for %v", s)
		}
	}
}

// keyStream returns what a cipher of XOR kind adds to the packet from the byte
// at from on.
func keyStream(c PacketCipher, from int) []byte {
	const n = 64
	f := frameOf(c)
	plain := make([]byte, f.SealedLen(n))
	end := f.layOut(plain, n, fill(0))
	wire := seal(c, 0, make([]byte, n), fill(0))
	stream := make([]byte, end-from)
	subtle.XORBytes(stream, plain[from:end], wire[from:end])
	return stream
}

func frameOf(c PacketCipher) frame {
	switch c := c.(type) {
	case *ctr:
		return c.frame
	case *gcm:
		return c.frame
	}
	panic("no frame")
}

// NIST SP 800-38A, F.5.1, F.5.3 and F.5.5: plaintext XOR ciphertext is the key
// stream.
func TestCTRVectors(t *testing.T) {
	plaintext := unhex(t, "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51 30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710")
	for _, tt := range []struct{ cipher, key, ciphertext string }{
		{"aes128-ctr", "2b7e151628aed2a6abf7158809cf4f3c", "874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff 5ae4df3edbd5d35e5b4f09020db03eab 1e031dda2fbe03d1792170a0f3009cee"},
		{"aes192-ctr", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "1abc932417521ca24f2b0459fe7e6e0b 090339ec0aa6faefd5ccc2c6f4ce8e94 1e36b26bd1ebc670d1bd1d665620abf7 4f78a7f6d29809585a97daec58c6b050"},
		{"aes256-ctr", "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "601ec313775789a5b7a7f504bbf3d228 f443e3ca4d62b59aca84e990cacaf5c5 2b0930daa23de94ce87017ba2d84988d dfc9c58db67aada613c2dd08457941a6"},
	} {
		want := unhex(t, tt.ciphertext)
		subtle.XORBytes(want, want, plaintext)
		spec, _ := LookupCipher(tt.cipher)
		mac, _ := LookupMAC("hmac-sha2-256")
		c, err := spec.New(unhex(t, tt.key), unhex(t, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), make([]byte, 32), &mac, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := keyStream(c, 0)[:len(want)]; !bytes.Equal(got, want) {
			t.Errorf("%s: key stream %x, want %x", tt.cipher, got, want)
		}
	}
}

// The GCM specification's test cases 3 and 15 (NIST's GCM revised specification,
// appendix B). Their lengths and additional data are not a packet's, so they
// give the key stream; the tag is in TestPacketVectors.
func TestGCMVectors(t *testing.T) {
	plaintext := unhex(t, "d9313225f88406e5a55909c5aff5269a 86a7a9531534f7da2e4c303d8a318a72 1c3c0c95956809532fcf0e2449a6b525 b16aedf5aa0de657ba637b391aafd255")
	for _, tt := range []struct{ cipher, key, ciphertext string }{
		{"aes128-gcm@openssh.com", "feffe9928665731c6d6a8f9467308308", "42831ec2217774244b7221b784d0d49c e3aa212f2c02a4e035c17e2329aca12e 21d514b25466931c7d8f6a5aac84aa05 1ba30b396a0aac973d58e091473f5985"},
		{"aes256-gcm@openssh.com", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "522dc1f099567d07f47f37a32a84427d 643a8cdcbfe5c0c97598a2bd2555d1aa 8cb08e48590dbb3da7b08b1056828838 c5f61e6393ba7a0abcc9f662898015ad"},
	} {
		want := unhex(t, tt.ciphertext)
		subtle.XORBytes(want, want, plaintext)
		spec, _ := LookupCipher(tt.cipher)
		c, err := spec.New(unhex(t, tt.key), unhex(t, "cafebabefacedbaddecaf888"), nil, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := keyStream(c, lengthSize)[:len(want)]; !bytes.Equal(got, want) {
			t.Errorf("%s: key stream %x, want %x", tt.cipher, got, want)
		}
	}
}

// RFC 4231, test case 2: the sequence number is the first four bytes of the
// data.
func TestHMACVectors(t *testing.T) {
	data := "what do ya want for nothing?"
	for _, tt := range []struct{ mac, want string }{
		{"hmac-sha2-256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"hmac-sha2-512", "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
	} {
		mac, _ := LookupMAC(tt.mac)
		c, err := newCTR(make([]byte, 16), make([]byte, 16), []byte("Jefe"), &mac)
		if err != nil {
			t.Fatal(err)
		}
		seq := uint32('w')<<24 | 'h'<<16 | 'a'<<8 | 't'
		if got := c.(*ctr).tagOf(seq, []byte(data[4:])); !bytes.Equal(got, unhex(t, tt.want)) {
			t.Errorf("%s: got %x, want %s", tt.mac, got, tt.want)
		}
	}
}

// scripted gives the bytes of a vector where a key exchange wants randomness,
// and nothing more.
func scripted(b ...[]byte) io.Reader { return bytes.NewReader(bytes.Join(b, nil)) }
