//go:build linux

package setup

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// IPQoS's second class is on the packets of what is no terminal, for both families.
func TestServiceClass(t *testing.T) {
	for _, tt := range []struct {
		address, line string
		want          int
	}{
		{"127.0.0.1:0", "IPQoS af21 cs1", 0x20},
		{"127.0.0.1:0", "IPQoS ef", 0xb8},
		{"127.0.0.1:0", "IPQoS af21 0x14", 0x14},
		{"127.0.0.1:0", "IPQoS cs1 none", 0},
		{"127.0.0.1:0", "", 0},
		{"[::1]:0", "IPQoS af21 af11", 0x28},
	} {
		l, err := net.Listen("tcp", tt.address)
		if err != nil {
			t.Skipf("%s: %v", tt.address, err)
		}
		defer l.Close()
		o, _, err := options(t, tt.line+"\n")
		if err != nil {
			t.Fatal(err)
		}
		nc, err := o.dialer()(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		raw, err := nc.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		got := -1
		raw.Control(func(fd uintptr) {
			if tt.address[0] == '[' {
				got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS)
			} else {
				got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS)
			}
		})
		if got != tt.want || err != nil {
			t.Errorf("%q to %s: got %#x, %v, want %#x", tt.line, tt.address, got, err, tt.want)
		}
	}
}
