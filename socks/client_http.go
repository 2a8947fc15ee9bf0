package socks

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// The statuses of a login. The second is no proxy's (RFC 9110, section 15.5.2),
// but tinyproxy answers so when a login is wrong.
const (
	statusLoginNeeded = 407
	statusLoginWrong  = 401
)

// askHTTP is HTTP CONNECT (RFC 9110, section 9.3.6).
func (c Client) askHTTP(a *asker) error {
	target := net.JoinHostPort(a.host, strconv.Itoa(int(a.port)))
	b := []byte("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n")
	if c.User != "" {
		if strings.Contains(c.User, ":") || !textual(c.User) || !textual(c.Password) {
			return errors.New("HTTP's Basic login takes no colon in the user and no control characters")
		}
		b = append(b, "Proxy-Authorization: Basic "...)
		b = base64.StdEncoding.AppendEncode(b, []byte(c.User+":"+c.Password))
		b = append(b, "\r\n"...)
	}
	if err := a.write("the request", append(b, "\r\n"...)); err != nil {
		return err
	}
	for left := maxHeader; ; {
		status, reason, schemes, err := c.readHead(a, &left)
		switch {
		case err != nil:
			return err
		case status >= 200 && status < 300: // the tunnel begins behind the head, whatever its fields say
			return nil
		case status >= 200:
			return c.refusedHTTP(status, reason, schemes)
		}
		// 1xx: the answer is still to come.
	}
}

func (c Client) refusedHTTP(status int, reason string, schemes []string) error {
	e := &ReplyError{Version: HTTPConnect, Code: status, Login: status == statusLoginNeeded || status == statusLoginWrong}
	e.Text = fmt.Sprintf("HTTP status %d", status)
	if reason != "" {
		e.Text += " " + reason
	}
	if !e.Login {
		return e
	}
	basic := len(schemes) == 0
	for _, s := range schemes {
		basic = basic || strings.EqualFold(s, "Basic")
	}
	switch {
	case !basic:
		e.Text += ": the proxy wants a login by " + strings.Join(schemes, " or ") + ", and only Basic is known here"
	case c.User != "":
		e.Text += ": the proxy refuses the user or the password"
	default:
		e.Text += ": the proxy wants a login"
	}
	return e
}

// readHead reads a response's status line and header fields, at most *left
// bytes. Schemes are those of Proxy-Authenticate.
func (c Client) readHead(a *asker, left *int) (status int, reason string, schemes []string, err error) {
	line, err := c.readLine(a, left, true)
	if err != nil {
		return 0, "", nil, err
	}
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || n < 100 || n > 599 {
		return 0, "", nil, &ProtocolError{HTTPConnect, fmt.Sprintf("the proxy's answer %.64q is no HTTP status line", line), 0}
	}
	for {
		if line, err = c.readLine(a, left, false); err != nil {
			return 0, "", nil, err
		}
		if line == "" {
			return int(n), short(reason), schemes, nil
		}
		name, value, _ := strings.Cut(line, ":")
		if scheme, _, _ := strings.Cut(strings.TrimSpace(value), " "); strings.EqualFold(name, "Proxy-Authenticate") && scheme != "" && len(schemes) < 4 {
			schemes = append(schemes, short(scheme))
		}
	}
}

// readLine reads a line byte by byte: what comes behind the head belongs to
// whoever owns the connection next, which may be another process.
func (c Client) readLine(a *asker, left *int, first bool) (string, error) {
	var line []byte
	for {
		var b [1]byte
		if *left == 0 {
			return "", &ProtocolError{HTTPConnect, fmt.Sprintf("the head of the proxy's answer has no end within %d bytes", maxHeader), 0}
		}
		if err := a.read("the head of its answer", b[:]); err != nil {
			return "", err
		}
		*left--
		if b[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		// Not to wait for the end of a line from what has none.
		if first && len(line) < len("HTTP/") && b[0] != "HTTP/"[len(line)] {
			return "", c.garbage(append(line, b[0]))
		}
		line = append(line, b[0])
	}
}

// short is a proxy's text as it may be shown.
func short(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return printable(s)
}
