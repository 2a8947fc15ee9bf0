package setup

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
)

// maxKeyFile is the largest key file that is read, in bytes, as for OpenSSH
// (sshbuf-io.c).
const maxKeyFile = 1 << 20

// keyFile is an identity file. It is used by one login at a time.
type keyFile struct {
	// Immutable.
	o       *Options
	path    string
	text    []byte          // of the private key; nil if there is none that we can use
	public  gossh.PublicKey // nil if nothing tells
	comment string          // of the public key's file
	locked  bool            // it has a passphrase

	signer  gossh.Signer // once it was opened
	private any          // from then on until the agent has it, if it is to have it
	err     error        // why opening it again is no use
}

// readKeyFile reads an identity file. With an error, the file may still tell
// which key is meant, so that the agent can sign for it.
func (o *Options) readKeyFile(ctx context.Context, path string) (*keyFile, error) {
	f := &keyFile{o: o, path: path}
	text, st, err := readKeyText(path)
	f.public, f.comment = publicBeside(path, text)
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("no such identity: %s: %w", path, errors.Unwrap(err))
	}
	if err == nil {
		err = tooOpen(path, st)
	}
	if err == nil {
		err = noPrivateKey(text)
	}
	if err != nil {
		return f, fmt.Errorf("identity file %s: %w", path, err)
	}
	f.text = text
	private, err := parsePrivate(text, nil)
	missing, locked := errors.AsType[*gossh.PassphraseMissingError](err)
	switch {
	case locked:
		f.locked = true
		if missing.PublicKey != nil {
			f.public = missing.PublicKey
		}
		err = nil
		// An old format does not tell whose key it is: it is opened in its turn,
		// unless nobody can, or it has to be found for a certificate.
		if f.public == nil && (!o.asks() || len(o.CertificateFiles) > 0) {
			_, err = f.open(ctx)
		}
	case err == nil:
		err = f.opened(private, false)
		if err == nil {
			f.mismatch()
			f.public = f.signer.PublicKey()
		}
	}
	if err != nil {
		f.text = nil
		return f, fmt.Errorf("identity file %s: %w", path, err)
	}
	return f, nil
}

// readLimited reads a file that may be a key.
func readLimited(path string) ([]byte, error) {
	b, _, err := readKeyText(path)
	return b, err
}

// readKeyText is readLimited, and tells of the file that was read.
func readKeyText(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, plainPathError(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, plainPathError(err)
	}
	if st.IsDir() {
		return nil, nil, errors.New("it is a directory")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(b) > maxKeyFile {
		err = fmt.Errorf("it has more than %d bytes", maxKeyFile)
	}
	return b, st, plainPathError(err)
}

// plainPathError takes off the path, which the caller names.
func plainPathError(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%w", e.Err)
	}
	return err
}

// publicBeside returns the public key that the file is, or that lies beside it
// as FILE.pub (ssh_config: IdentityFile), that stands in the private key in the
// clear, or for which FILE-cert.pub is.
func publicBeside(path string, text []byte) (gossh.PublicKey, string) {
	if k, comment, _, _, err := gossh.ParseAuthorizedKey(text); err == nil {
		return k, comment
	}
	if b, err := readLimited(path + ".pub"); err == nil {
		if k, comment, _, _, err := gossh.ParseAuthorizedKey(b); err == nil {
			return k, comment
		}
	}
	if block, _ := pem.Decode(text); block != nil && block.Type == "OPENSSH PRIVATE KEY" {
		return clearPublic(block.Bytes), ""
	}
	if b, err := readLimited(path + "-cert.pub"); err == nil {
		if cert, err := parseCertificate(path, b); err == nil {
			return cert.Key, ""
		}
	}
	return nil, ""
}

// clearPublic returns the public half in OpenSSH's format (PROTOCOL.key,
// section 1), also of keys that we can't sign with.
func clearPublic(b []byte) gossh.PublicKey {
	head := parseHead(b)
	if head == nil {
		return nil
	}
	k, err := gossh.ParsePublicKey(head.Public)
	if err != nil {
		return nil
	}
	return k
}

// keyHead is what stands in the clear in OpenSSH's format (PROTOCOL.key, section
// 1).
type keyHead struct {
	Cipher, KDF string
	Options     []byte
	Keys        uint32
	Public      []byte
	Rest        []byte `ssh:"rest"`
}

// parseHead returns nil for what is no file with one key.
func parseHead(b []byte) *keyHead {
	const magic = "openssh-key-v1\x00"
	head := new(keyHead)
	if !bytes.HasPrefix(b, []byte(magic)) || gossh.Unmarshal(b[len(magic):], head) != nil || head.Keys != 1 {
		return nil
	}
	return head
}

// rounds is how often the passphrase is hashed (ssh-keygen -a), 0 for never.
func (h *keyHead) rounds() uint32 {
	var options struct {
		Salt   []byte
		Rounds uint32
	}
	if h == nil || gossh.Unmarshal(h.Options, &options) != nil {
		return 0
	}
	return options.Rounds
}

// noPrivateKey says in a person's words what a file is instead of a private key.
func noPrivateKey(text []byte) error {
	if block, _ := pem.Decode(text); block != nil {
		return nil
	}
	s := strings.TrimSpace(string(text))
	switch _, _, _, _, err := gossh.ParseAuthorizedKey(text); {
	case s == "":
		return errors.New("it is empty")
	case err == nil:
		return errors.New("it holds a public key, and its private key is not in the agent; name the file of the private key")
	case strings.HasPrefix(s, "PuTTY-User-Key-File-"):
		return errors.New("it has PuTTY's format; convert it with: puttygen FILE -O private-openssh -o NEWFILE")
	case strings.Contains(s, "-----BEGIN ") && !strings.Contains(s, "-----END "):
		return errors.New("it is cut off: its END line is missing")
	case strings.Contains(s, "-----BEGIN "):
		return errors.New("it is damaged: what stands between its BEGIN and END lines is no key")
	}
	return errors.New("it holds no private key")
}

// mismatch warns of a .pub file that is another key's.
func (f *keyFile) mismatch() {
	if f.public != nil && !sameKey(f.public, f.signer.PublicKey()) {
		f.o.notice(fmt.Sprintf("warning: %s.pub is of another key than %s, which is the one that is used", f.path, f.path))
	}
}

// open unlocks a file that did not tell its public key.
func (f *keyFile) open(ctx context.Context) (gossh.Signer, error) {
	if err := f.unlock(ctx); err != nil {
		return nil, err
	}
	if err := f.o.largeEnough(f.signer.PublicKey()); err != nil {
		return nil, err
	}
	f.public = f.signer.PublicKey()
	return f.key().Signer, nil
}

// key is the file's key. One with a passphrase asks for it when it signs: so
// only when the server is known to take it.
func (f *keyFile) key() adit.Key {
	if f.public == nil {
		return adit.Key{Open: f.open, Comment: f.path}
	}
	k := adit.Key{Signer: &fileSigner{f}, Comment: f.path, Probe: f.signer == nil}
	if f.signer != nil && !f.o.addsKeys() {
		k.Signer = f.signer
	}
	return k
}
