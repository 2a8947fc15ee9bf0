// Package knownhosts reads and writes OpenSSH's known_hosts files (sshd(8),
// section "SSH_KNOWN_HOSTS FILE FORMAT") and judges host keys by them.
//
// It decides as OpenSSH does: a malformed line is skipped with a warning and
// never spoils the file; names are compared without regard to case; an entry
// without a port vouches for its key on any port that no entry names. In one
// place it is stricter: a key marked @revoked is revoked for every host.
//
// Load reads files, DB.Check and DB.Judge judge a key, DB.Algorithms says which
// key types to ask a server for, Append adds a line, and DB.Compare and Replace
// follow a server's announcement of its keys.
package knownhosts

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wildcard"
)

const (
	// maxLine is the longest line read, in bytes. Longer ones are skipped.
	maxLine = 64 << 10
	// maxFile is the largest file that is read, in bytes: 100 times the largest
	// that people tell of. A device without end is not read for ever.
	maxFile = 64 << 20
)

// Entry is one usable line.
type Entry struct {
	File     string
	Line     int
	Marker   string // "", "cert-authority" or "revoked"
	Patterns string // as written: names, wildcards, negations, or a hash
	Key      gossh.PublicKey
}

// Where is FILE:LINE.
func (e *Entry) Where() string { return fmt.Sprintf("%s:%d", e.File, e.Line) }

// Warning is a line that could not be used.
type Warning struct {
	File string
	Line int
	Text string
}

func (w Warning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// DB is the content of known_hosts files. It is not modified while in use.
type DB struct {
	Files    []string
	Entries  []Entry
	Warnings []Warning
	// CASignatures are the algorithms with which authorities may sign
	// certificates (ssh_config: CASignatureAlgorithms). Nil means all but those
	// with SHA-1.
	CASignatures []string
}

// Load reads files. Those that do not exist count as empty. An error says which
// can't be read; the DB has the others then.
func Load(files ...string) (*DB, error) {
	db := &DB{Files: files}
	var errs []error
	for _, name := range files {
		b, err := readFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read known hosts: %w", err))
			continue
		}
		db.parse(name, b)
	}
	return db, errors.Join(errs...)
}

// readFile is os.ReadFile up to maxFile.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, name)
}

func readAll(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: more than %d bytes", name, maxFile)
	}
	return b, err
}

// Add returns a DB that has those lines of text too that are for one of the
// hosts, in the files' form. They come from a source called name. as, if not
// empty, is whom they count for.
func (db *DB) Add(name string, text []byte, as string, hosts ...string) *DB {
	var read DB
	read.parse(name, text)
	more := *db
	more.Files = append(slices.Clone(db.Files), name)
	more.Warnings = append(slices.Clone(db.Warnings), read.Warnings...)
	more.Entries = slices.Clone(db.Entries)
	for _, e := range read.Entries {
		if slices.ContainsFunc(hosts, e.matches) {
			if as != "" {
				e.Patterns = as
			}
			more.Entries = append(more.Entries, e)
		}
	}
	return &more
}

func (db *DB) parse(name string, b []byte) {
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, max(maxLine, len(b)+1))
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		e, err := parseLine(line)
		if err != nil {
			db.Warnings = append(db.Warnings, Warning{name, n, err.Error()})
			continue
		}
		e.File, e.Line = name, n
		db.Entries = append(db.Entries, *e)
	}
}

func parseLine(line string) (*Entry, error) {
	if len(line) > maxLine {
		return nil, fmt.Errorf("line is longer than %d bytes", maxLine)
	}
	if line == "" || line[0] == '#' {
		return nil, errors.New("line has no entry")
	}
	e := new(Entry)
	f := strings.Fields(line)
	if strings.HasPrefix(f[0], "@") {
		e.Marker = f[0][1:]
		if e.Marker != "cert-authority" && e.Marker != "revoked" {
			return nil, fmt.Errorf("unknown marker %q", f[0])
		}
		f = f[1:]
	}
	if len(f) < 3 {
		return nil, errors.New("line has too few fields")
	}
	e.Patterns = f[0]
	blob, err := base64.StdEncoding.DecodeString(f[2])
	if err != nil {
		return nil, fmt.Errorf("key is not base64: %w", err)
	}
	if e.Key, err = gossh.ParsePublicKey(blob); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if e.Key.Type() != f[1] {
		return nil, fmt.Errorf("key is of type %s, the line says %q", e.Key.Type(), f[1])
	}
	return e, nil
}

// Host is a server's name as the person knows it, and its port.
type Host struct {
	Name string
	Port int
}

// String returns the form used in the files: bare for port 22, else [name]:port.
func (h Host) String() string {
	name := strings.ToLower(h.Name)
	if h.Port == 22 || h.Port == 0 {
		return name
	}
	return "[" + name + "]:" + strconv.Itoa(h.Port)
}

// matches reports whether the entry is for host, in the files' form.
func (e *Entry) matches(host string) bool {
	if strings.HasPrefix(e.Patterns, "|") {
		return matchHash(e.Patterns, host)
	}
	found := false
	for p := range strings.SplitSeq(strings.ToLower(e.Patterns), ",") {
		if p, not := strings.CutPrefix(p, "!"); not {
			if wildcard.Match(p, host) {
				return false
			}
			continue
		}
		found = found || wildcard.Match(p, host)
	}
	return found
}

// matchHash compares with "|1|salt|HMAC-SHA1(salt, host)".
func matchHash(pattern, host string) bool {
	f := strings.Split(pattern, "|")
	if len(f) != 4 || f[1] != "1" {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(f[2])
	want, err2 := base64.StdEncoding.DecodeString(f[3])
	if err1 != nil || err2 != nil {
		return false
	}
	m := hmac.New(sha1.New, salt)
	m.Write([]byte(host))
	return hmac.Equal(m.Sum(nil), want)
}

// SplitAddr parses host:port, with 22 as the default port.
func SplitAddr(addr string) Host {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return Host{Name: addr, Port: 22}
	}
	n, _ := strconv.Atoi(port)
	return Host{Name: name, Port: n}
}
