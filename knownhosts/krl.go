package knownhosts

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"

	gossh "golang.org/x/crypto/ssh"
)

// Numbers of PROTOCOL.krl.
const (
	krlMagic   = "SSHKRL\n\x00"
	krlVersion = 1

	krlCertificates = 1
	krlKeys         = 2
	krlSHA1         = 3
	krlSignature    = 4
	krlSHA256       = 5
	krlExtension    = 255

	krlSerials       = 0x20
	krlRange         = 0x21
	krlBitmap        = 0x22
	krlKeyIDs        = 0x23
	krlCertExtension = 0x39
)

// krl is a key revocation list.
type krl struct {
	keys, sha1s, sha256s map[string]bool
	authorities          map[string]*revokedCerts // by wire form; "" is any
}

// revokedCerts are certificates of one authority.
type revokedCerts struct {
	serials map[uint64]bool
	ranges  [][2]uint64 // first and last
	bitmaps []bitmap
	ids     map[string]bool
}

// bitmap revokes the serial numbers of its bits, counted from first.
type bitmap struct {
	first uint64
	bits  *big.Int
}

func isKRL(b []byte) bool { return bytes.HasPrefix(b, []byte(krlMagic)) }

func parseKRL(b []byte) (*krl, error) {
	k := &krl{keys: map[string]bool{}, sha1s: map[string]bool{}, sha256s: map[string]bool{}, authorities: map[string]*revokedCerts{}}
	c := &cursor{b: b[len(krlMagic):]}
	if v := c.uint32(); !c.bad && v != krlVersion {
		return nil, fmt.Errorf("key revocation list of format %d, want %d", v, krlVersion)
	}
	c.uint64() // version of the list
	c.uint64() // when it was made
	c.uint64() // flags
	c.string() // reserved
	c.string() // comment
	signed := false
	for len(c.b) > 0 && !c.bad {
		typ, section := c.byte(), &cursor{b: c.string()}
		if c.bad || signed && typ != krlSignature {
			return nil, errKRL
		}
		switch typ {
		case krlCertificates:
			if err := k.certificates(section); err != nil {
				return nil, err
			}
		case krlKeys:
			section.strings(k.keys)
		case krlSHA1:
			section.strings(k.sha1s)
		case krlSHA256:
			section.strings(k.sha256s)
		case krlSignature:
			// By whom it is signed is for those who fetch it. Behind the key
			// comes the signature; only signatures may follow.
			c.string()
			signed = true
			continue
		case krlExtension:
			if err := section.extension(); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("key revocation list: unknown section %d", typ)
		}
		if section.bad || len(section.b) > 0 {
			return nil, errKRL
		}
	}
	if c.bad {
		return nil, errKRL
	}
	return k, nil
}

// certificates reads a section about one authority.
func (k *krl) certificates(c *cursor) error {
	ca := string(c.string())
	c.string() // reserved
	r := k.authorities[ca]
	if r == nil {
		r = &revokedCerts{serials: map[uint64]bool{}, ids: map[string]bool{}}
		k.authorities[ca] = r
	}
	for len(c.b) > 0 && !c.bad {
		typ, s := c.byte(), &cursor{b: c.string()}
		if c.bad {
			return errKRL
		}
		switch typ {
		case krlSerials:
			for len(s.b) > 0 && !s.bad {
				r.serials[s.uint64()] = true
			}
		case krlRange:
			r.ranges = append(r.ranges, [2]uint64{s.uint64(), s.uint64()})
		case krlBitmap:
			first, bits := s.uint64(), s.string()
			if len(bits) > 0 && bits[0]&0x80 != 0 {
				return errKRL // a negative mpint
			}
			r.bitmaps = append(r.bitmaps, bitmap{first, new(big.Int).SetBytes(bits)})
		case krlKeyIDs:
			s.strings(r.ids)
		case krlCertExtension:
			if err := s.extension(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("key revocation list: unknown kind %#x of certificates", typ)
		}
		if s.bad || len(s.b) > 0 {
			return errKRL
		}
	}
	return nil
}

// revokes reports whether the list has a key, or a certificate.
func (k *krl) revokes(key gossh.PublicKey) bool {
	blob := plainBlob(key)
	s1, s256 := sha1.Sum([]byte(blob)), sha256.Sum256([]byte(blob))
	if k.keys[blob] || k.sha1s[string(s1[:])] || k.sha256s[string(s256[:])] {
		return true
	}
	cert, ok := key.(*gossh.Certificate)
	return ok && (k.authorities[plainBlob(cert.SignatureKey)].has(cert) || k.authorities[""].has(cert))
}

func (r *revokedCerts) has(cert *gossh.Certificate) bool {
	if r == nil {
		return false
	}
	if r.ids[cert.KeyId] {
		return true
	}
	n := cert.Serial
	if n == 0 { // an authority that doesn't number its certificates
		return false
	}
	inRange := func(x [2]uint64) bool { return x[0] <= n && n <= x[1] }
	inBitmap := func(m bitmap) bool {
		return n >= m.first && n-m.first < uint64(m.bits.BitLen()) && m.bits.Bit(int(n-m.first)) == 1
	}
	return r.serials[n] || slices.ContainsFunc(r.ranges, inRange) || slices.ContainsFunc(r.bitmaps, inBitmap)
}

// cursor reads the types of RFC 4251, section 5. bad says that something was cut
// short.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return make([]byte, min(max(n, 0), 8))
	}
	p := c.b[:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) byte() byte     { return c.take(1)[0] }
func (c *cursor) uint32() uint32 { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) uint64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }
func (c *cursor) string() []byte { return c.take(int(c.uint32())) }

// strings adds all that is left to a set.
func (c *cursor) strings(set map[string]bool) {
	for len(c.b) > 0 && !c.bad {
		set[string(c.string())] = true
	}
}

// extension reads a name, whether it must be understood, and what it says. None
// is understood.
func (c *cursor) extension() error {
	name, critical := c.string(), c.byte() != 0
	c.string()
	if critical && !c.bad {
		return fmt.Errorf("key revocation list: unknown critical extension %.64q", name)
	}
	return nil
}
