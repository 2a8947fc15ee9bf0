package sshconfig

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ProxyJump and ProxyCommand exclude each other: the first of them counts
// (readconf.c, parse_jump). ProxyJump none only forbids a later ProxyJump.

func proxyCommand(l *line) error {
	if l.r.jumps {
		l.active = false
	}
	return command(l)
}

func proxyJump(l *line) error {
	s := strings.TrimLeft(l.rest, blanks+"=")
	l.args = nil
	if strings.EqualFold(s, "none") {
		l.set("none")
		return nil
	}
	j, err := parseJump(s, l.from.CommandLine)
	if err != nil {
		return err
	}
	if !l.active || len(l.r.s["proxycommand"]) > 0 || len(l.r.s["proxyjump"]) > 0 {
		return nil
	}
	l.set(j.String())
	l.r.jumps = true
	return nil
}

// LastHop takes the last hop off the value of ProxyJump: that is the one that
// connects to the host, and before is the ProxyJump by which it is reached
// itself, "" for what its own configuration says.
func LastHop(proxyJump string) (hop Target, before string, err error) {
	j, err := parseJump(proxyJump, false)
	return Target{Host: j.host, User: j.user, Port: j.port}, j.before, err
}

// String returns the form of -G.
func (j jump) String() string {
	var b strings.Builder
	if j.before != "" {
		b.WriteString(j.before + ",")
	}
	if j.user != "" {
		b.WriteString(j.user + "@")
	}
	if strings.Contains(j.host, ":") || strings.Trim(j.host, "0123456789.") == "" {
		b.WriteString("[" + j.host + "]")
	} else {
		b.WriteString(j.host)
	}
	if j.port > 0 {
		b.WriteString(":" + strconv.Itoa(j.port))
	}
	return b.String()
}

// jumpHost returns the last hop's name, "" without a jump.
func (r *reader) jumpHost() string {
	if !r.jumps {
		return ""
	}
	j, err := parseJump(r.s.text("proxyjump"), false)
	if err != nil {
		return ""
	}
	return j.host
}

// checkJump refuses a host that is to be reached through itself.
func (r *reader) checkJump(host string) error {
	if !r.jumps {
		return nil
	}
	v := r.s["proxyjump"][0]
	j, err := parseJump(v.text, false)
	if err != nil {
		return lineError(v.from, "proxyjump", err)
	}
	port, user := strconv.Itoa(j.port), j.user
	if j.port == 0 {
		port = "22"
	}
	if user == "" {
		user = r.s.text("user")
	}
	if j.host == host && port == r.s.text("port") && user == r.s.text("user") {
		return lineError(v.from, "proxyjump", withHint{fmt.Errorf("%s would be reached through itself", host),
			"exclude it from the block that has the line, as in: Host * !" + host})
	}
	return nil
}

// parseAddress reads an address as getaddrinfo(3) does, which takes also the old
// forms of IPv4 such as 127.1 and 0x7f000001.
func parseAddress(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a, true
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var ip [4]byte
	for i, p := range parts {
		if p == "" || strings.ContainsAny(p, "_+-") {
			return netip.Addr{}, false
		}
		base, digits := 10, p
		if len(p) > 1 && p[0] == '0' {
			base, digits = 8, p[1:]
			if p[1]|0x20 == 'x' {
				base, digits = 16, p[2:]
			}
		}
		rest := 1 // bytes that this number fills
		if i == len(parts)-1 {
			rest = 4 - i
		}
		n, err := strconv.ParseUint(digits, base, 8*rest)
		if err != nil {
			return netip.Addr{}, false
		}
		for k := range rest {
			ip[i+k] = byte(n >> (8 * (rest - 1 - k)))
		}
	}
	return netip.AddrFrom4(ip), true
}
