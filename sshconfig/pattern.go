package sshconfig

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// maxPattern is the longest pattern of a list that OpenSSH considers.
const maxPattern = 1022

// matchList reports whether s matches a list of patterns separated by commas:
// one of them matches and none that has ! before it. denied tells that one of
// the latter did.
func matchList(s, list string, fold bool) (matched, denied bool) {
	if list == "" {
		return false, false
	}
	list, _ = strings.CutSuffix(list, ",") // there is no pattern after the last comma
	for p := range strings.SplitSeq(list, ",") {
		p, not := strings.CutPrefix(p, "!")
		if len(p) > maxPattern {
			return false, false
		}
		if fold {
			p = lower(p)
		}
		if wildcard.Match(p, s) {
			if not {
				return false, true
			}
			matched = true
		}
	}
	return matched, false
}

// matchHost is matchList for host names, whose case does not count.
func matchHost(host, list string) bool {
	matched, _ := matchList(lower(host), list, true)
	return matched
}

// parseNetworks reads a list of addresses and networks, in which bits beyond the
// mask are a mistake (addrmatch.c, addr_match_cidr_list).
func parseNetworks(list string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for s := range strings.SplitSeq(list, ",") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil || a.Zone() != "" {
				return nil, fmt.Errorf("%q is not a network such as 192.0.2.0/24", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p != p.Masked() {
			return nil, fmt.Errorf("network %s has bits beyond its mask; %s is meant, perhaps", s, p.Masked())
		}
		nets = append(nets, p)
	}
	return nets, nil
}
