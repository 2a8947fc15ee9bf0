//go:build unix

package dial

import (
	"net"

	"golang.org/x/sys/unix"
)

// setTOS sets the type of service, or traffic class; 0 is the system's.
func setTOS(c *net.TCPConn, is4 bool, tos int) {
	raw, err := c.SyscallConn()
	if tos == 0 || err != nil {
		return
	}
	level, option := unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	if is4 {
		level, option = unix.IPPROTO_IP, unix.IP_TOS
	}
	raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), level, option, tos) })
}
