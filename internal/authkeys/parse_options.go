package authkeys

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// optionsEnd returns the length of the options field: up to the first space
// outside quotes. Within the field \" is not the end of a quote.
func optionsEnd(s string) (int, error) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			return i, nil
		}
	}
	if quoted {
		return 0, errors.New("unterminated quote")
	}
	return len(s), nil
}

// parseOptions parses comma-separated options: name, or name="value".
func (e *entry) parseOptions(s string) error {
	for {
		end := strings.IndexAny(s, ",=")
		if end < 0 {
			end = len(s)
		}
		name := strings.ToLower(s[:end])
		s = s[end:]
		value, hasValue := "", strings.HasPrefix(s, "=")
		if hasValue {
			var err error
			if value, s, err = unquote(s[1:]); err != nil {
				return fmt.Errorf("option %q: %w", name, err)
			}
		}
		if err := e.option(name, value, hasValue); err != nil {
			return err
		}
		if s == "" {
			return nil
		}
		if s[0] != ',' || len(s) == 1 {
			return fmt.Errorf("option %s is not followed by another", name)
		}
		s = s[1:]
	}
}

// unquote takes a quoted string off the front of s. A quote within it is
// written \".
func unquote(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", errors.New("value is not in quotes")
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case s[i] == '"':
			return strings.ReplaceAll(s[1:i], `\"`, `"`), s[i+1:], nil
		}
	}
	return "", "", errors.New("unterminated quote")
}

// option applies one option.
func (e *entry) option(name, value string, hasValue bool) error {
	if name == "verify-required" {
		return errors.New("option verify-required can't be enforced here")
	}
	if e.flag(name) {
		if hasValue {
			return fmt.Errorf("option %s takes no value", name)
		}
		return nil
	}
	parse, known := valueOptions[name]
	if !known {
		return fmt.Errorf("unknown option %q", name)
	}
	if !hasValue {
		return fmt.Errorf("option %s needs a value", name)
	}
	if err := parse(e, value); err != nil {
		return fmt.Errorf("option %s: %w", name, err)
	}
	return nil
}

// flag applies an option without a value, and reports whether it is one.
// Options apply in the order in which they stand: "restrict,pty" permits a pty.
func (e *entry) flag(name string) bool {
	o := e.options
	switch name {
	case "restrict":
		o.PortForwarding, o.AgentForwarding, o.X11Forwarding, o.PTY, o.UserRC = false, false, false, false, false
		return true
	case "cert-authority":
		e.authority = true
		return true
	}
	base, no := strings.CutPrefix(name, "no-")
	switch base {
	case "port-forwarding":
		o.PortForwarding = !no
	case "agent-forwarding":
		o.AgentForwarding = !no
	case "x11-forwarding":
		o.X11Forwarding = !no
	case "pty":
		o.PTY = !no
	case "user-rc":
		o.UserRC = !no
	case "touch-required":
		// Touch is demanded in any case.
	case "verify-required":
		// "no-" only: what is the default anyway.
	default:
		return false
	}
	return true
}

var errTwice = errors.New("given more than once")

// valueOptions are the options with a value.
var valueOptions = map[string]func(e *entry, v string) error{
	"command": func(e *entry, v string) error {
		if e.options.Forced {
			return errTwice
		}
		e.options.Forced, e.options.Command = true, v
		return nil
	},
	"principals": func(e *entry, v string) error {
		if e.principals != nil {
			return errTwice
		}
		e.principals = []string{}
		for p := range strings.SplitSeq(v, ",") {
			if p = strings.TrimSpace(p); p == "" {
				return errors.New("empty name")
			}
			e.principals = append(e.principals, p)
		}
		return nil
	},
	"from": func(e *entry, v string) (err error) {
		if e.from != nil {
			return errTwice
		}
		e.from, err = parsePatterns(v)
		return err
	},
	"expiry-time": func(e *entry, v string) error {
		t, err := parseExpiry(v, time.Local)
		if err != nil {
			return err
		}
		if e.expires.IsZero() || t.Before(e.expires) {
			e.expires = t
		}
		return nil
	},
	"environment": func(e *entry, v string) error {
		name := envName(v)
		if name == "" || name == v || strings.ContainsFunc(name, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) {
			return errors.New("want NAME=value")
		}
		e.options.addEnvironment(v)
		return nil
	},
	"permitopen": func(e *entry, v string) error {
		p, err := parseHostPort(v)
		e.options.PermitOpen = append(e.options.PermitOpen, p)
		return err
	},
	"permitlisten": func(e *entry, v string) error {
		if !strings.Contains(v, ":") {
			v = "*:" + v
		}
		p, err := parseHostPort(v)
		e.options.PermitListen = append(e.options.PermitListen, p)
		return err
	},
	"tunnel": func(e *entry, v string) error {
		if _, err := strconv.ParseUint(v, 10, 31); err != nil && v != "any" {
			return errors.New("want a device number")
		}
		e.options.Tunnel = v
		return nil
	},
}

func envName(kv string) string {
	name, _, _ := strings.Cut(kv, "=")
	return name
}

// parseHostPort parses host:port, [address]:port, and * for any port.
func parseHostPort(s string) (HostPort, error) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return HostPort{}, fmt.Errorf("%q is not host:port", s)
	}
	host, port := s[:colon], s[colon+1:]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return HostPort{}, fmt.Errorf("%q has no closing bracket", s)
		}
	} else if strings.Contains(host, ":") {
		return HostPort{}, fmt.Errorf("%q: put an IPv6 address in brackets", s)
	}
	if host == "" || strings.ContainsAny(host, "[]") {
		return HostPort{}, fmt.Errorf("%q has no host", s)
	}
	if port == "*" {
		return HostPort{Host: host}, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return HostPort{}, fmt.Errorf("port %q is not 1 to 65535", port)
	}
	return HostPort{Host: host, Port: uint16(n)}, nil
}

// parseExpiry parses YYYYMMDD, YYYYMMDDHHMM and YYYYMMDDHHMMSS, in loc, or in
// UTC with a Z behind it.
func parseExpiry(s string, loc *time.Location) (time.Time, error) {
	digits, utc := strings.CutSuffix(s, "Z")
	if utc {
		loc = time.UTC
	}
	const layout = "20060102150405"
	switch len(digits) {
	case 8, 12, 14:
		t, err := time.ParseInLocation(layout[:len(digits)], digits, loc)
		if err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not YYYYMMDD[HHMM[SS]][Z]", s)
}
