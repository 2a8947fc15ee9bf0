package agent

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wire"
)

// helperEnv has this test's program be one of OpenSSH's helpers, which behaves as its
// value says.
const helperEnv = "ADIT_TEST_HELPER"

// helperIs returns the path of a helper that behaves so.
func helperIs(t testing.TB, how string) (path string) {
	t.Helper()
	t.Setenv(helperEnv, how)
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// playHelper is a helper of either kind.
func playHelper(how string) {
	if how != "hash" && how != "whole" && !strings.HasPrefix(how, "sk") {
		if request, err := readFrame(os.Stdin); err == nil && request[0] == numSignRequest {
			if how == "dies later" || strings.HasPrefix(how, "add ") {
				writeFrame(os.Stdout, []byte{numFailure}) // the probe
				readFrame(os.Stdin)
				how = strings.TrimPrefix(how, "add ")
			}
		}
	}
	switch how {
	case "hangs":
		io.Copy(io.Discard, os.Stdin)
		<-time.After(time.Hour) // what end does not end, kill does
	case "ends", "dies later":
		fmt.Fprint(os.Stderr, "\n")
		os.Exit(3)
	case "complains":
		fmt.Fprint(os.Stderr, "the device is on fire\nand more")
		os.Exit(255)
	case "chatters":
		fmt.Print("Usage: what?\n")
	case "long":
		os.Stdout.Write([]byte{0xff, 0xff, 0xff, 0xff, 1})
	case "short":
		os.Stdout.Write([]byte{0, 0, 0, 40, skHelperVersion, 0, 0})
	case "empty":
		os.Stdout.Write([]byte{0, 0, 0, 0})
	case "version 6":
		writeFrame(os.Stdout, []byte{6, 0, 0, 0, skHelperSign})
	case "success":
		writeFrame(os.Stdout, []byte{numSuccess})
	case "keys of nonsense":
		writeFrame(os.Stdout, []byte{numKeys, 0, 0, 0, 9, 1})
	case "no keys":
		writeFrame(os.Stdout, []byte{numFailure, 0, 0, 0, 0})
	case "wrong PIN":
		writeFrame(os.Stdout, []byte{numFailure, 0, 0, 0, 2})
	case "hash", "whole":
		playToken(how == "whole")
	default:
		playSK(strings.TrimPrefix(how, "sk "))
	}
}

// playSK is ssh-sk-helper with a device in it, whose handles are the private keys.
func playSK(how string) {
	b, err := readFrame(os.Stdin)
	if err != nil {
		os.Exit(1)
	}
	p := wire.NewParser(b)
	head := p.Fixed(1 + 4 + 1 + 4)
	raw, provider, data, algorithm, compat, pin := p.Bytes(), p.String(), p.Bytes(), p.String(), p.Uint32(), p.String()
	if p.Done() != nil || head[0] != skHelperVersion || head[4] != skHelperSign || provider != "internal" || algorithm != "" || compat != 0 {
		fmt.Fprint(os.Stderr, "malformed request")
		os.Exit(255)
	}
	reply := wire.AppendUint32([]byte{skHelperVersion}, skHelperSign)
	tell := func(code uint32) {
		writeFrame(os.Stdout, wire.AppendUint32(wire.AppendUint32([]byte{skHelperVersion}, skHelperError), code))
		os.Exit(0)
	}
	switch how {
	case "PIN":
		if pin != "1234" {
			tell(skErrPIN)
		}
	case "absent":
		tell(skErrNotFound)
	case "other data":
		data = []byte("not what was asked")
	}
	k := wire.NewParser(raw)
	k.Bytes() // type
	k.Bytes() // public key
	application, flags, seed := k.String(), k.Byte(), k.Bytes()
	hash, app := sha256.Sum256(data), sha256.Sum256([]byte(application))
	signed := append(append(app[:], flags, 0, 0, 0, 7), hash[:]...)
	sig := wire.AppendString(nil, gossh.KeyAlgoSKED25519)
	sig = wire.AppendString(sig, ed25519.Sign(ed25519.NewKeyFromSeed(seed), signed))
	writeFrame(os.Stdout, wire.AppendString(reply, append(sig, flags, 0, 0, 0, 7)))
}

// tokenEnv is the key in the token, as PEM.
const tokenEnv = "ADIT_TEST_TOKEN"

// playToken is ssh-pkcs11-helper with a token, before or since OpenSSH 10.2.
func playToken(whole bool) {
	key, err := gossh.ParseRawPrivateKey([]byte(os.Getenv(tokenEnv)))
	if err != nil {
		os.Exit(1)
	}
	signer := key.(*rsa.PrivateKey)
	public, err := gossh.NewPublicKey(&signer.PublicKey)
	if err != nil {
		os.Exit(1)
	}
	for {
		b, err := readFrame(os.Stdin)
		if err != nil {
			os.Exit(0)
		}
		p := wire.NewParser(b[1:])
		switch b[0] {
		case numAddToken:
			if p.Bytes(); p.String() != "1234" {
				writeFrame(os.Stdout, []byte{numFailure, 0, 0, 0, 2})
				continue
			}
			writeFrame(os.Stdout, appendKeys(nil, []Identity{{public.Marshal(), "label"}, {[]byte("a kind of the future"), ""}}))
		case numSignRequest:
			blob, data := p.Bytes(), p.Bytes()
			name := ""
			if whole {
				name = p.String()
			}
			p.Uint32()
			if p.Done() != nil {
				os.Exit(255)
			}
			if string(blob) != string(public.Marshal()) {
				writeFrame(os.Stdout, []byte{numFailureOld})
				continue
			}
			if strings.HasSuffix(string(data), "die") {
				os.Exit(1)
			}
			sig, err := signer.Sign(rand.Reader, data, crypto.Hash(0))
			if whole {
				hash := map[string]crypto.Hash{"": crypto.SHA1, gossh.KeyAlgoRSASHA256: crypto.SHA256, gossh.KeyAlgoRSASHA512: crypto.SHA512}[name]
				h := hash.New()
				h.Write(data)
				sig, err = signer.Sign(rand.Reader, h.Sum(nil), hash)
				if name == "" {
					name = gossh.KeyAlgoRSA
				}
				sig = wire.AppendString(wire.AppendString(nil, name), sig)
			}
			if err != nil {
				os.Exit(1)
			}
			writeFrame(os.Stdout, wire.AppendString([]byte{numSignature}, sig))
		}
	}
}
