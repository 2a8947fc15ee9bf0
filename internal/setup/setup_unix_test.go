//go:build unix

package setup

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
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
