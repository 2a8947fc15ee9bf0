//go:build unix

package setup

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestConfigKeepAlive(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	known := filepath.Join(t.TempDir(), "known_hosts")
	for _, off := range []bool{false, true} {
		o := &Options{Host: "127.0.0.1", KnownHosts: []string{known}, NoTCPKeepAlive: off}
		cfg, err := o.Config()
		if err != nil {
			t.Fatal(err)
		}
		c, err := cfg.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var on int
		var sockErr error
		if err := raw.Control(func(fd uintptr) {
			on, sockErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
		}); err != nil || sockErr != nil {
			t.Fatal(err, sockErr)
		}
		if (on == 0) != off {
			t.Errorf("NoTCPKeepAlive %v: SO_KEEPALIVE is %d", off, on)
		}
	}
}

// IPQoS: the second class is for all but terminals.
func TestIPQoS(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		config      string
		interactive bool
		want        int
	}{{"", false, 0}, {"", true, 0xb8}, {"IPQoS af21 cs1\n", false, 0x20}, {"IPQoS af21 cs1\n", true, 0x48}, {"IPQoS 16\n", false, 0x10}, {"IPQoS none\n", true, 0}} {
		o, _, err := options(t, tt.config)
		if err != nil {
			t.Fatal(err)
		}
		o.Route.Interactive = tt.interactive
		c, err := o.dialer()(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS); err != nil || got != tt.want {
				t.Errorf("%q, interactive %v: the type of service is %#x, %v; want %#x", tt.config, tt.interactive, got, err, tt.want)
			}
		})
	}
}
