package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/adit-ssh/adit/trace"
)

// readVersion reads the peer's version line (RFC 4253, section 4.2). A server
// may send other lines first; a client may not. What follows the line stays in
// the in half's buffer.
func (c *Conn) readVersion(ctx context.Context) (string, error) {
	g := greeting{local: c.localVersion}
	v, err := c.versionLine(&g)
	if err == nil {
		return v, nil
	}
	if end, ok := errors.AsType[*versionEnd](err); ok {
		return "", g.wrong(end.text, nil)
	}
	ended := c.Err()
	switch {
	case ended != nil && (ctx.Err() == context.DeadlineExceeded || errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded)):
		// Silence has no other end than the caller's patience.
		return "", g.wrong(tooLate, ended)
	case ended != nil:
		return "", ended
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", g.wrong(tooLate, err)
	case err == errPeerClosed:
		err = nil
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno // and not the addresses again
	}
	return "", g.wrong(peerClosed, err)
}

// What ends a wait for a version line besides faults in what came.
const (
	peerClosed = "the peer closed the connection before its version line"
	tooLate    = "the peer's version line did not come in time"
)

// versionEnd is a fault in the peer's lines.
type versionEnd struct{ text string }

func (e *versionEnd) Error() string { return e.text }

// versionLine reads lines up to the version line, or to what can't come before
// one.
func (c *Conn) versionLine(g *greeting) (string, error) {
	for range maxBannerLines {
		line, err := c.readLine(g)
		if err != nil {
			return "", err
		}
		if bytes.HasPrefix(line, []byte("SSH-")) {
			return parseVersion(line, g)
		}
		g.line(line)
		if c.server {
			// RFC 4253 lets only servers send other lines. The answer is for
			// the person or program that came here by mistake.
			c.nc.Write([]byte("Invalid SSH identification string.\r\n"))
			return "", &versionEnd{"the client does not speak SSH"}
		}
		trace.Emit(c.cfg.Tracer, trace.BannerLine{Text: Sanitize(string(line), 256), Size: len(line), Number: g.count})
		if bytes.IndexByte(line, 0) >= 0 {
			return "", &versionEnd{"a line before it holds a null byte"}
		}
		if g.hopeless() {
			return "", &versionEnd{"the peer does not speak SSH"}
		}
	}
	return "", &versionEnd{fmt.Sprintf("no version line in the first %d lines", maxBannerLines)}
}

// readLine returns the next line without its end.
func (c *Conn) readLine(g *greeting) ([]byte, error) {
	for {
		have := c.in.buf[c.in.r:c.in.w]
		if !c.server && g.binary(have) {
			g.rest(have)
			return nil, &versionEnd{"the peer does not speak SSH"}
		}
		limit, tooLong := maxBannerLine, fmt.Sprintf("a line is longer than %d bytes", maxBannerLine)
		if bytes.HasPrefix(have, []byte("SSH-")) {
			limit, tooLong = maxVersionLine-len("\r\n"), fmt.Sprintf("it is longer than %d bytes", maxVersionLine)
		}
		i := bytes.IndexByte(have, '\n')
		if line := bytes.TrimSuffix(have[:max(i, 0)], []byte("\r")); i >= 0 && len(line) <= limit {
			c.in.r += i + 1
			return line, nil
		}
		if i >= 0 || len(have) > limit+1 {
			g.rest(have)
			return nil, &versionEnd{tooLong}
		}
		if err := c.in.fill(false); err != nil {
			g.rest(have)
			return nil, err
		}
	}
}

// parseVersion checks a version line and returns it as it enters the exchange
// hash.
func parseVersion(line []byte, g *greeting) (string, error) {
	v := string(line)
	if bytes.IndexByte(line, 0) >= 0 {
		g.rest(line)
		return "", &versionEnd{"it holds a null byte"}
	}
	// RFC 4253, section 5.1: a client takes "1.99" as "2.0".
	if !strings.HasPrefix(v, "SSH-2.0-") && !strings.HasPrefix(v, "SSH-1.99-") {
		g.rest(line)
		g.version = true
		return "", &versionEnd{"only protocol version 2.0 is supported"}
	}
	return v, nil
}

// echoed finds out whether the peer's KEXINIT, or what should be one, is only
// ours come back: a version line alone does not tell, since the other side may
// be adit too. have is what came behind the version line, err what became of
// it.
func (c *Conn) echoed(have []byte, err error) error {
	_, broken := errors.AsType[*ProtocolError](err)
	if c.server || c.peerVersion != c.localVersion || err == nil && !bytes.Equal(have, c.ownInit()) {
		return err
	}
	// A terminal shows a null byte as ^@; so does the echo of our packet begin.
	if err != nil && !(broken && bytes.HasPrefix(have, []byte("^@^@"))) {
		return err
	}
	g := greeting{local: c.localVersion}
	g.line([]byte(c.peerVersion))
	return g.wrong("the peer sends back what we send", nil)
}

// ownInit is our KEXINIT of the exchange that is open.
func (c *Conn) ownInit() []byte {
	c.kexMu.Lock()
	defer c.kexMu.Unlock()
	return c.localInit
}
