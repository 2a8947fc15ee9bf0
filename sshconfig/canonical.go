package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Resolver looks up a host name. network is "ip", "ip4" or "ip6". It returns the
// name's canonical form, without a dot at the end; an error when it has no
// address. A name with a dot at its end is complete as it is.
type Resolver interface {
	Resolve(ctx context.Context, network, name string) (canonical string, err error)
}

type systemResolver struct{}

// Resolve implements Resolver.
func (systemResolver) Resolve(ctx context.Context, network, name string) (string, error) {
	if _, err := net.DefaultResolver.LookupNetIP(ctx, network, name); err != nil {
		return "", err
	}
	canonical, err := net.DefaultResolver.LookupCNAME(ctx, name)
	if err != nil {
		return "", nil // there is an address, and that is what was asked
	}
	return strings.TrimSuffix(canonical, "."), nil
}

func (r *reader) network() string {
	switch r.s.text("addressfamily") {
	case "inet":
		return "ip4"
	case "inet6":
		return "ip6"
	}
	return "ip"
}

// direct tells that the name is ours to look up, and not a proxy's.
func (r *reader) direct() bool {
	c := r.s.text("proxycommand")
	return !r.jumps && (c == "" || strings.EqualFold(c, "none"))
}

// address finds the host's address: HostName's value in lower case, made
// canonical if that is wanted (ssh.c, main and resolve_canonicalize).
func (r *reader) address(ctx context.Context) (string, error) {
	host := r.host
	if name := r.s.text("hostname"); name != "" {
		var err error
		if host, err = expandHostName(name, r.host); err != nil {
			return "", lineError(r.s["hostname"][0].from, "hostname", err)
		}
		r.s.replace("hostname", host)
	}
	if a, ok := parseAddress(host); ok && r.fits(a) {
		if strings.EqualFold(host, a.String()) {
			return host, nil
		}
		return a.String(), nil
	}
	mode := r.s.text("canonicalizehostname")
	if !looksLikeAddress(host) { // else it may have a zone that is not there today
		host = lower(host)
	}
	if !looksLikeAddress(host) && (mode == "true" && r.direct() || mode == "always") {
		var found bool
		var err error
		if host, found, err = r.canonical(ctx, host); err != nil || found {
			return host, err
		}
	}
	// Without that, an alias may still be followed.
	if rules := r.s.texts("canonicalizepermittedcnames"); len(rules) == 0 || rules[0] == "none" || !r.direct() && mode != "always" {
		return host, nil
	}
	cname, err := r.o.Resolver.Resolve(ctx, r.network(), host)
	switch {
	case err == nil:
		return r.follow(host, cname), nil
	case r.direct():
		return "", fmt.Errorf("resolve %s: %w", host, err)
	}
	return host, nil
}

func (r *reader) fits(a netip.Addr) bool {
	switch r.network() {
	case "ip4":
		return a.Is4()
	case "ip6":
		return a.Is6()
	}
	return true
}

// looksLikeAddress reports whether a text can only be an address (ssh.c,
// is_addr_fast).
func looksLikeAddress(s string) bool {
	return strings.ContainsAny(s, "%:") || strings.Trim(s, "0123456789.") == ""
}

// canonical tries the name with each of CanonicalDomains.
func (r *reader) canonical(ctx context.Context, host string) (name string, found bool, err error) {
	try := func(full string) (string, bool) {
		cname, err := r.o.Resolver.Resolve(ctx, r.network(), full)
		if err != nil {
			return "", false
		}
		return r.follow(strings.TrimSuffix(full, "."), cname), true
	}
	maxDots := 1
	if n, err := strconv.Atoi(r.s.text("canonicalizemaxdots")); err == nil {
		maxDots = n
	}
	if strings.HasSuffix(host, ".") {
		if name, ok := try(host); ok {
			return name, true, nil
		}
	} else {
		if strings.Count(host, ".") > maxDots {
			return host, false, nil
		}
		for _, domain := range r.s.texts("canonicaldomains") {
			if strings.EqualFold(domain, "none") {
				break
			}
			if name, ok := try(host + "." + domain + "."); ok {
				return name, true, nil
			}
			if err := ctx.Err(); err != nil {
				return "", false, err
			}
		}
	}
	if r.s.text("canonicalizefallbacklocal") == "no" {
		v := r.s["canonicalizefallbacklocal"][0]
		return "", false, lineError(v.from, "canonicalizefallbacklocal", withHint{
			errors.New("the host " + host + " was found in none of CanonicalDomains"), "add its domain there, or give its full name"})
	}
	return host, false, nil
}

// follow puts the name that an alias leads to in its place, if a rule permits
// (ssh.c, check_follow_cname).
func (r *reader) follow(name, cname string) string {
	mode := r.s.text("canonicalizehostname")
	if _, err := validDomain(cname); err != nil || cname == name || mode == "" || mode == "false" {
		return name
	}
	for _, rule := range r.s.texts("canonicalizepermittedcnames") {
		sources, targets, _ := strings.Cut(rule, ":")
		from, _ := matchList(name, sources, true)
		to, _ := matchList(cname, targets, true)
		if rule != "none" && from && to {
			return cname
		}
	}
	return name
}
