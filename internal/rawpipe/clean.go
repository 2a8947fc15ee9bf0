package rawpipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// What OpenSSH takes in front of a version line (sshconnect.c, kex.c).
const (
	maxLines = 1024
	maxLine  = 8192 // bytes
)

// ErrEcho is a way to the server that sends back what it is sent.
var ErrEcho = errors.New("what comes back is the client's own version line: at the other end is a terminal or an echo, not an SSH server")

// clean reads from src into buf until a version line has begun, and returns what
// there is of it and behind it, at the start of buf. Lines in front of it go to
// skipped, which may be nil. own is the client's version line, or "".
func clean(src io.Reader, buf []byte, own func() string, skipped func(string)) (int, error) {
	have := 0
	for lines := 0; ; {
		if i := bytes.IndexByte(buf[:have], '\n'); i >= 0 && i < maxLine {
			line := bytes.TrimSuffix(buf[:i], []byte("\r"))
			if bytes.HasPrefix(line, []byte("SSH-")) {
				if string(line) == own() {
					return 0, ErrEcho
				}
				return have, nil
			}
			if skipped != nil {
				skipped(ascii(string(line)))
			}
			have = copy(buf, buf[i+1:have])
			if lines++; lines == maxLines {
				return 0, fmt.Errorf("%d lines came, and none of them is one", lines)
			}
			continue
		}
		if have >= maxLine {
			return 0, fmt.Errorf("a line of more than %d bytes came in its place: %q", maxLine, ascii(string(buf[:64])))
		}
		n, err := src.Read(buf[have:])
		have += n
		if n == 0 && err != nil {
			if err == io.EOF && have > 0 {
				err = fmt.Errorf("the connection ended after %q", ascii(string(buf[:min(have, 64)])))
			}
			return 0, err
		}
	}
}
