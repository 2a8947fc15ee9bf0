package dial

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTCPSocketOptions(t *testing.T) {
	idle := 7200
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_keepalive_time"); err == nil {
		idle, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	for _, off := range []bool{false, true} {
		c, err := TCP{NoKeepAlive: off}.Dial(t.Context(), listenLoopback(t))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			for _, o := range []struct {
				name             string
				level, opt, want int
			}{
				{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, map[bool]int{false: 1, true: 0}[off]},
				{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle},
				{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			} {
				if got, err := unix.GetsockoptInt(int(fd), o.level, o.opt); err != nil || got != o.want {
					t.Errorf("NoKeepAlive %v: %s is %d, %v; want %d", off, o.name, got, err, o.want)
				}
			}
		})
	}
}
