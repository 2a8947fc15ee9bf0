//go:build !linux

package forward

import (
	"net"
	"net/netip"
)

// holder is known on Linux only.
func holder(netip.AddrPort) string { return "" }

// pathHolder is known on Linux only.
func pathHolder(*net.UnixConn) string { return "" }
