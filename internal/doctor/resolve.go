package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// checkName looks the host's name up.
func (e *exam) checkName(ctx context.Context) []netip.Addr {
	host := e.conf.HostName
	if a, err := netip.ParseAddr(host); err == nil {
		e.skip(StageName, "", host+" is an address")
		return []netip.Addr{a}
	}
	ctx, cancel := context.WithTimeout(ctx, e.limit)
	defer cancel()
	network := map[string]string{"inet": "ip4", "inet6": "ip6"}[e.conf.AddressFamily]
	if network == "" {
		network = "ip"
	}
	began := time.Now()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	c := Check{Stage: StageName, Status: OK, Took: time.Since(began)}
	if err != nil {
		c.Status, c.Text = Failed, oneLine(err.Error())
		c.Meaning = fmt.Sprintf("no address is known for %q", host)
		c.Fix = "check its spelling; if it is an alias, a Host block with a HostName must explain it; a private name may need a VPN, or a jump host that knows it (ProxyJump)"
		if dns, ok := err.(*net.DNSError); ok && !dns.IsNotFound {
			c.Meaning, c.Fix = "the name server did not answer", "is the network up? Does another name work?"
		}
		e.add(c)
		return nil
	}
	var texts []string
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	c.Text = host + " is " + strings.Join(texts, ", ")
	e.add(c)
	return addrs
}
