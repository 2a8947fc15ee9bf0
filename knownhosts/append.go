package knownhosts

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"

	gossh "golang.org/x/crypto/ssh"
)

// Line returns the line for a host and its key, without newline. With hash the
// name is hidden, as HashKnownHosts does.
func Line(h Host, key gossh.PublicKey, hash bool) string {
	name := h.String()
	if hash {
		salt := make([]byte, sha1.Size)
		rand.Read(salt)
		m := hmac.New(sha1.New, salt)
		m.Write([]byte(name))
		enc := base64.StdEncoding.EncodeToString
		name = "|1|" + enc(salt) + "|" + enc(m.Sum(nil))
	}
	return name + " " + key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
}

// Append adds a line to file, which it creates with mode 0600, its folder with
// 0700. A last line without newline is ended first.
func Append(file string, h Host, key gossh.PublicKey, hash bool) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("add to known hosts: %w", err)
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("add to known hosts: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	line := Line(h, key, hash) + "\n"
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], st.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = f.WriteString(line)
	return err
}
