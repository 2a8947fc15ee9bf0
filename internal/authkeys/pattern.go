package authkeys

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// pattern is one element of a pattern-list (ssh_config(5), PATTERNS): a
// wildcard pattern, or a network in CIDR notation.
type pattern struct {
	negated bool
	glob    string
	network netip.Prefix // valid in place of glob
}

// parsePatterns parses a comma-separated pattern-list.
func parsePatterns(list string) ([]pattern, error) {
	var ps []pattern
	for s := range strings.SplitSeq(list, ",") {
		var p pattern
		p.glob, p.negated = strings.CutPrefix(strings.TrimSpace(s), "!")
		if p.glob == "" {
			return nil, errors.New("empty pattern")
		}
		if strings.Contains(p.glob, "/") {
			n, err := parseNetwork(p.glob)
			if err != nil {
				return nil, err
			}
			p.glob, p.network = "", n
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// parseNetwork parses address/length. Bits beyond the length must be zero.
func parseNetwork(s string) (netip.Prefix, error) {
	n, err := netip.ParsePrefix(s)
	if err != nil {
		return n, fmt.Errorf("network %q is not address/length", s)
	}
	if n != n.Masked() {
		return n, fmt.Errorf("network %q has bits beyond its length", s)
	}
	return n, nil
}

// parseSourceAddresses parses the list of a certificate's source-address: plain
// addresses and networks.
func parseSourceAddresses(list string) ([]netip.Prefix, error) {
	var ns []netip.Prefix
	for s := range strings.SplitSeq(list, ",") {
		if a, err := netip.ParseAddr(s); err == nil {
			ns = append(ns, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		n, err := parseNetwork(s)
		if err != nil {
			return nil, err
		}
		ns = append(ns, n)
	}
	return ns, nil
}

// matchFrom reports whether a client at addr, named host if its name is known,
// matches a pattern-list: at least one pattern, and no negated one.
func matchFrom(ps []pattern, addr netip.Addr, host string) bool {
	matched := false
	for _, p := range ps {
		if !p.matches(addr, host) {
			continue
		}
		if p.negated {
			return false
		}
		matched = true
	}
	return matched
}

func (p pattern) matches(addr netip.Addr, host string) bool {
	if p.network.IsValid() {
		return p.network.Contains(addr)
	}
	return addr.IsValid() && wildcard.Match(p.glob, addr.String()) ||
		host != "" && wildcard.Match(strings.ToLower(p.glob), strings.ToLower(host))
}
