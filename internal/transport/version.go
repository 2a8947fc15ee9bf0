package transport

import (
	"bytes"
	"fmt"
	"strings"
)

// readVersion reads the peer's version line (RFC 4253, section 4.2). A server
// may send other lines first; a client may not. What follows the line stays in
// the in half's buffer.
func (c *Conn) readVersion() (string, error) {
	var seen []string
	for range maxBannerLines {
		line, err := c.readLine(seen)
		if err != nil {
			return "", err
		}
		if bytes.HasPrefix(line, []byte("SSH-")) {
			return parseVersion(line)
		}
		text := Sanitize(string(line), 256)
		if len(seen) < 4 {
			seen = append(seen, text)
		}
		if c.server {
			// RFC 4253 lets only servers send other lines. The answer is for
			// the person or program that came here by mistake.
			c.nc.Write([]byte("Invalid SSH identification string.\r\n"))
			return "", &VersionError{"the client does not speak SSH", seen}
		}
		if c.cfg.BannerLine != nil {
			c.cfg.BannerLine(text)
		}
	}
	return "", &VersionError{fmt.Sprintf("no version line in the first %d lines", maxBannerLines), seen}
}

// readLine returns the next line without its end.
func (c *Conn) readLine(seen []string) ([]byte, error) {
	for {
		have := c.in.buf[c.in.r:c.in.w]
		limit := maxBannerLine
		if bytes.HasPrefix(have, []byte("SSH-")) {
			limit = maxVersionLine
		}
		if i := bytes.IndexByte(have, '\n'); i >= 0 && i < limit {
			c.in.r += i + 1
			return bytes.TrimSuffix(have[:i], []byte("\r")), nil
		}
		if len(have) >= limit {
			return nil, &VersionError{fmt.Sprintf("a line is longer than %d bytes", limit), append(seen, Sanitize(string(have), 64))}
		}
		if err := c.in.fill(c.nc, false); err != nil {
			if len(have) > 0 {
				seen = append(seen, Sanitize(string(have), 256))
			}
			if err == errPeerClosed {
				return nil, &VersionError{"the peer closed the connection before its version line", seen}
			}
			return nil, fmt.Errorf("read version line: %w", err)
		}
	}
}

// parseVersion checks a version line and returns it as it enters the exchange
// hash.
func parseVersion(line []byte) (string, error) {
	if bytes.IndexByte(line, 0) >= 0 {
		return "", &VersionError{"it holds a null byte", []string{Sanitize(string(line), 256)}}
	}
	v := string(line)
	// RFC 4253, section 5.1: a client takes "1.99" as "2.0".
	if !strings.HasPrefix(v, "SSH-2.0-") && !strings.HasPrefix(v, "SSH-1.99-") {
		return "", &VersionError{"only protocol version 2.0 is supported", []string{Sanitize(v, 256)}}
	}
	return v, nil
}
