package knownhosts

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// Line returns the line for a host and its key, without newline. With hash the
// name is hidden, as HashKnownHosts does.
func Line(h Host, key gossh.PublicKey, hash bool) string {
	return line(h.String(), key, hash)
}

func line(name string, key gossh.PublicKey, hash bool) string {
	if hash {
		name = hashed(name)
	}
	return name + " " + key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
}

// lines returns the lines, each with its newline, for a key by name and by
// address, which may be empty. A plain line has both, hashed ones have one each
// (hostfile.c, write_host_entry).
func lines(name, address string, key gossh.PublicKey, hash bool) string {
	switch {
	case address == "":
		return line(name, key, hash) + "\n"
	case hash:
		return line(name, key, true) + "\n" + line(address, key, true) + "\n"
	}
	return line(name+","+address, key, false) + "\n"
}

func hashed(name string) string {
	salt := make([]byte, sha1.Size)
	rand.Read(salt)
	m := hmac.New(sha1.New, salt)
	m.Write([]byte(strings.ToLower(name)))
	enc := base64.StdEncoding.EncodeToString
	return "|1|" + enc(salt) + "|" + enc(m.Sum(nil))
}

// Append adds a line to file, which it creates with mode 0600; its folder must be
// there. A last line without newline is ended first. Others may append at the
// same time, ssh too: nothing is lost and no line is torn.
func Append(file string, h Host, key gossh.PublicKey, hash bool) error {
	return AppendAddress(file, h, "", key, hash)
}

// AppendAddress is Append for a host and its address, in the files' form, which
// may be empty (ssh_config: CheckHostIP).
func AppendAddress(file string, h Host, address string, key gossh.PublicKey, hash bool) error {
	f, err := openLocked(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, false)
	if err != nil {
		return fmt.Errorf("add to known hosts: %w", err)
	}
	text := lines(h.String(), address, key, hash)
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], st.Size()-1); err == nil && last[0] != '\n' {
			text = "\n" + text
		}
	}
	_, err = f.WriteString(text) // one write: the system keeps it in one piece
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("add to known hosts: %w", err)
	}
	return nil
}
