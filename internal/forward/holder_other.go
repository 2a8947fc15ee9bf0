//go:build !linux

package forward

import "net/netip"

// holder is known on Linux only.
func holder(netip.AddrPort) string { return "" }
