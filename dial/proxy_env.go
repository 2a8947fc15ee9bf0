package dial

import (
	"net"
	"net/netip"
	"strings"
)

// ProxyFromEnv returns what the environment says about the way to host, in
// ParseProxy's form: ALL_PROXY, or all_proxy, unless NO_PROXY, or no_proxy,
// names the host. "" is no proxy. Nothing here asks the environment by itself:
// a variable that is meant for browsers must not lead SSH astray.
//
// NO_PROXY is a list of names, which stand for what is below them too, addresses
// and networks (10.0.0.0/8), separated by commas; "*" is everything. An address
// without a scheme is an HTTP proxy's, as for curl.
func ProxyFromEnv(getenv func(string) string, host string) string {
	either := func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return getenv(strings.ToLower(name))
	}
	proxy := either("ALL_PROXY")
	if proxy == "" || exempt(either("NO_PROXY"), host) {
		return ""
	}
	if !strings.Contains(proxy, "://") {
		return "http://" + proxy
	}
	return proxy
}

// exempt reports whether NO_PROXY names the host.
func exempt(list, host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	addr, err := netip.ParseAddr(host)
	isAddr := err == nil
	for entry := range strings.SplitSeq(strings.ToLower(list), ",") {
		entry = strings.TrimSpace(entry)
		if h, _, err := net.SplitHostPort(entry); err == nil {
			entry = h
		}
		network, netErr := netip.ParsePrefix(entry)
		name := strings.TrimPrefix(strings.TrimPrefix(entry, "*"), ".")
		switch {
		case entry == "":
		case entry == "*", entry == host, isAddr && netErr == nil && network.Contains(addr.Unmap()):
			return true
		case !isAddr && name != "" && (host == name || strings.HasSuffix(host, "."+name)):
			return true
		}
	}
	return false
}
