//go:build unix

package setup

import (
	"net"

	"golang.org/x/sys/unix"
)

func mark(tc *net.TCPConn, tos int) {
	raw, err := tc.SyscallConn()
	if err != nil {
		return
	}
	v6 := tc.RemoteAddr().(*net.TCPAddr).IP.To4() == nil
	raw.Control(func(fd uintptr) {
		if v6 {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tos)
		} else {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, tos)
		}
	})
}
