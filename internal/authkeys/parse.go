package authkeys

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/algo"
)

// Limits on a file.
const (
	// MaxLine is the longest line read, in bytes; longer ones are skipped. An
	// RSA key of 16384 bits takes 2.8 KiB.
	MaxLine = 16 << 10
	// MaxFile is the largest file read, in bytes.
	MaxFile = 16 << 20
)

// Warning is about a line that was skipped.
type Warning struct {
	File string
	Line int
	Text string
}

// String returns file:line: text.
func (w Warning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// entry is one line of a file.
type entry struct {
	line     int
	key      []byte // wire form
	optioned bool   // it has an options field
	options  *Options
	entryConditions
}

// parseFile reads entries from r. The error is about reading, or about a file
// beyond MaxFile; bad lines give warnings.
func parseFile(r io.Reader, name string) (entries []entry, warnings []Warning, err error) {
	sc := bufio.NewReaderSize(io.LimitReader(r, MaxFile+1), MaxLine)
	total := 0
	for n := 1; ; n++ {
		line, size, err := readLine(sc)
		total += size
		if total > MaxFile {
			return nil, nil, fmt.Errorf("%s: file exceeds %d bytes", name, MaxFile)
		}
		if err == io.EOF {
			return entries, warnings, nil
		}
		var e *entry
		if err == nil {
			e, err = parseLine(line)
		} else if !errors.Is(err, errLongLine) {
			return nil, nil, fmt.Errorf("read %s: %w", name, err)
		}
		if err != nil {
			warnings = append(warnings, Warning{name, n, err.Error()})
		} else if e != nil {
			e.line = n
			entries = append(entries, *e)
		}
	}
}

var errLongLine = fmt.Errorf("line exceeds %d bytes", MaxLine)

// readLine returns the next line without its end, and how many bytes it took.
// After the last one it returns io.EOF.
func readLine(r *bufio.Reader) (string, int, error) {
	b, err := r.ReadSlice('\n')
	size := len(b)
	if err == io.EOF && size > 0 {
		err = nil
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return string(bytes.TrimRight(b, "\r\n")), size, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		b, err = r.ReadSlice('\n')
		size += len(b)
	}
	if err == nil || err == io.EOF {
		err = errLongLine
	}
	return "", size, err
}

// parseLine parses "[options] keytype base64-key [comment]". It returns nil for
// an empty line and for a comment.
func parseLine(line string) (*entry, error) {
	line = strings.Trim(line, " \t")
	if line == "" || line[0] == '#' {
		return nil, nil
	}
	e := &entry{options: Unrestricted()}
	if !isKeyType(line) {
		end, err := optionsEnd(line)
		if err != nil {
			return nil, err
		}
		if err := e.parseOptions(line[:end]); err != nil {
			return nil, err
		}
		e.optioned = true
		line = strings.TrimLeft(line[end:], " \t")
	}
	var err error
	e.key, err = parseKey(line)
	return e, err
}

// isKeyType tells a line that begins with a key from one with options: no
// option's name begins so.
func isKeyType(line string) bool {
	return strings.HasPrefix(line, "ssh-") || strings.HasPrefix(line, "ecdsa-sha2-") || strings.HasPrefix(line, "sk-")
}

func parseKey(s string) ([]byte, error) {
	fields := strings.Fields(s)
	if len(fields) < 2 {
		return nil, errors.New("no key found")
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return nil, errors.New("key is not base64")
	}
	key, err := gossh.ParsePublicKey(blob)
	if err != nil {
		return nil, errors.New("key can't be parsed")
	}
	if _, ok := key.(*gossh.Certificate); ok {
		return nil, errors.New("certificate in place of a key")
	}
	if key.Type() != fields[0] {
		return nil, fmt.Errorf("key of type %s is labelled %q", key.Type(), fields[0])
	}
	if !acceptable(key) {
		return nil, fmt.Errorf("%s key is not supported, or too small", key.Type())
	}
	return blob, nil
}

// minRSABits is the smallest RSA key of a user, and of an authority (RFC 8332,
// section 5.1).
const minRSABits = 2048

// acceptable reports whether a key is of a kind that we have, and large enough.
func acceptable(key gossh.PublicKey) bool {
	n, isRSA := algo.RSABits(key)
	return len(algo.HostKeyAlgorithms(key)) > 0 && (!isRSA || n >= minRSABits)
}
