package sshconfig

import (
	"net/url"
	"strings"
)

// parseURI reads what follows ssh:// (misc.c, parse_uri). A path is a mistake.
func parseURI(s string) (j jump, ok bool) {
	if info, rest, found := strings.Cut(s, "@"); found {
		info, _, _ = strings.Cut(info, ";") // connection parameters: nothing is known of them
		user, err := url.PathUnescape(info)
		if err != nil || user == "" {
			return j, false
		}
		j.user, s = user, rest
	}
	s = strings.TrimSuffix(s, "/")
	if j.setHostPort(s) != nil {
		return j, false
	}
	name := strings.TrimSuffix(j.host, ".")
	if !strings.Contains(j.host, ":") {
		if _, err := validDomain(name); err != nil {
			return j, false
		}
	}
	return j, true
}

// Target is what a person typed as the host to connect to.
type Target struct {
	Host, User string
	Port       int // 0 when it is not given
}

// ParseTarget reads [user@]host or ssh://[user@]host[:port], as ssh's argument.
func ParseTarget(s string) (Target, bool) {
	if uri, isURI := strings.CutPrefix(s, "ssh://"); isURI {
		j, ok := parseURI(uri)
		return Target{Host: j.host, User: j.user, Port: j.port}, ok
	}
	t := Target{Host: s}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		t.User, t.Host = s[:i], s[i+1:]
		if t.User == "" {
			return t, false
		}
	}
	return t, t.Host != ""
}
