package setup

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/scrypt"
)

// pkcs8Encrypted is the PEM type of RFC 5958, section 3.
const pkcs8Encrypted = "ENCRYPTED PRIVATE KEY"

// kdfLimits bound what a key file may make us compute. OpenSSL's files have 2048
// rounds of PBKDF2, or 16 MiB of scrypt; careful people take a million.
type kdfLimits struct {
	rounds int // of PBKDF2
	bytes  int // of scrypt: N*r*p*128
}

// usualLimits take some seconds.
var usualLimits = kdfLimits{rounds: 5_000_000, bytes: 512 << 20}

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
)

// pkcs8Hashes are those of PBKDF2; without one it is SHA-1 (RFC 8018, A.2).
var pkcs8Hashes = map[string]func() hash.Hash{
	"":                    sha1.New,
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.8":  sha256.New224,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
}

// pkcs8Ciphers all work in CBC mode.
var pkcs8Ciphers = map[string]struct {
	keyLen int
	block  func([]byte) (cipher.Block, error)
}{
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
}

// decryptPKCS8 opens a private key with a passphrase (PKCS#8; PBES2, RFC 8018,
// section 6.2). A wrong passphrase is x509.IncorrectPasswordError.
func decryptPKCS8(der, passphrase []byte, most kdfLimits) (any, error) {
	var file struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	if err := unmarshalAll(der, &file); err != nil {
		return nil, fmt.Errorf("encrypted PKCS#8: %w", err)
	}
	if !file.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, fmt.Errorf("it is encrypted in an old way (%v); encrypt it anew with: ssh-keygen -p -f", file.Algorithm.Algorithm)
	}
	var scheme struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	if err := unmarshalAll(file.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, fmt.Errorf("encrypted PKCS#8: %w", err)
	}
	c, ok := pkcs8Ciphers[scheme.Cipher.Algorithm.String()]
	if !ok {
		return nil, fmt.Errorf("encrypted PKCS#8: unknown cipher %v", scheme.Cipher.Algorithm)
	}
	key, err := pkcs8Key(scheme.KDF, passphrase, c.keyLen, most)
	if err != nil {
		return nil, fmt.Errorf("encrypted PKCS#8: %w", err)
	}
	defer clear(key)
	block, err := c.block(key)
	if err != nil {
		return nil, err
	}
	var iv []byte
	if err := unmarshalAll(scheme.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, fmt.Errorf("encrypted PKCS#8: %w", err)
	}
	size := block.BlockSize()
	if len(iv) != size || len(file.Data) == 0 || len(file.Data)%size != 0 {
		return nil, errors.New("encrypted PKCS#8: it is damaged")
	}
	plain := make([]byte, len(file.Data))
	defer clear(plain)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, file.Data)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > size || !bytes.Equal(plain[len(plain)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, x509.IncorrectPasswordError
	}
	private, err := x509.ParsePKCS8PrivateKey(plain[:len(plain)-pad])
	if err != nil { // one wrong passphrase in 256 leaves what looks like padding
		return nil, x509.IncorrectPasswordError
	}
	return private, nil
}

// pkcs8Key derives the cipher's key.
func pkcs8Key(kdf pkix.AlgorithmIdentifier, passphrase []byte, keyLen int, most kdfLimits) ([]byte, error) {
	switch {
	case kdf.Algorithm.Equal(oidPBKDF2):
		var p struct {
			Salt   []byte
			Rounds int
			KeyLen int                      `asn1:"optional"`
			Hash   pkix.AlgorithmIdentifier `asn1:"optional"`
		}
		if err := unmarshalAll(kdf.Parameters.FullBytes, &p); err != nil {
			return nil, err
		}
		h, ok := pkcs8Hashes[p.Hash.Algorithm.String()]
		if !ok {
			return nil, fmt.Errorf("unknown hash %v", p.Hash.Algorithm)
		}
		if p.Rounds < 1 || p.Rounds > most.rounds {
			return nil, fmt.Errorf("%d rounds of PBKDF2, at most %d are taken", p.Rounds, most.rounds)
		}
		return pbkdf2.Key(h, string(passphrase), p.Salt, p.Rounds, keyLen)
	case kdf.Algorithm.Equal(oidScrypt): // RFC 7914, section 7
		var p struct {
			Salt    []byte
			N, R, P int
			KeyLen  int `asn1:"optional"`
		}
		if err := unmarshalAll(kdf.Parameters.FullBytes, &p); err != nil {
			return nil, err
		}
		if p.N < 2 || p.R < 1 || p.P < 1 || p.N > most.bytes/128/p.R/p.P {
			return nil, fmt.Errorf("scrypt with N %d, r %d, p %d, which is not possible or takes too much", p.N, p.R, p.P)
		}
		return scrypt.Key(passphrase, p.Salt, p.N, p.R, p.P, keyLen)
	}
	return nil, fmt.Errorf("unknown key derivation %v", kdf.Algorithm)
}

// unmarshalAll is asn1.Unmarshal of all bytes.
func unmarshalAll(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		err = errors.New("there is more behind it")
	}
	return err
}
