package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// from returns the address to connect from, of the family of the one to connect
// to; the zero value leaves it to the system.
func (d TCP) from(ctx context.Context, to netip.Addr) (netip.Addr, *Error) {
	network, family := "ip6", "IPv6"
	if to.Is4() {
		network, family = "ip4", "IPv4"
	}
	switch {
	case d.BindAddress != "":
		ips, err := addressesOf(ctx, network, d.BindAddress)
		if err != nil {
			return netip.Addr{}, &Error{Stage: StageBind, Address: d.BindAddress, Err: plain(err)}
		}
		return ips[0].Unmap(), nil
	case d.BindInterface != "":
		ip, err := interfaceAddr(d.BindInterface, to.Is4())
		if err != nil {
			return ip, &Error{Stage: StageInterface, Address: d.BindInterface, Err: err}
		}
		if !ip.IsValid() {
			return ip, &Error{Stage: StageInterface, Address: d.BindInterface, Err: fmt.Errorf("it has no %s address", family)}
		}
		return ip, nil
	}
	return netip.Addr{}, nil
}

// interfaceAddr returns the first address of a family that an interface has; the
// zero value if none. Loopback and link-local addresses come last (OpenSSH,
// sshconnect.c, check_ifaddrs).
func interfaceAddr(name string, is4 bool) (netip.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, plain(err)
	}
	if i.Flags&net.FlagUp == 0 {
		return netip.Addr{}, errors.New("it is down")
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, plain(err)
	}
	var last netip.Addr
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if ip = ip.Unmap(); !ok || ip.Is4() != is4 {
			continue
		}
		if ip.Is6() && ip.IsLinkLocalUnicast() {
			ip = ip.WithZone(name)
		}
		if local := ip.IsLoopback() || ip.Is6() && ip.IsLinkLocalUnicast(); !local {
			return ip, nil
		}
		if !last.IsValid() {
			last = ip
		}
	}
	return last, nil
}
