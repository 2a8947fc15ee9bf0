package dial

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/testpeer"
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

// All addresses of a name are told. The name server is the test's own.
func TestTCPRefusedByAll(t *testing.T) {
	usual := net.DefaultResolver
	defer func() { net.DefaultResolver = usual }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		c, server := net.Pipe()
		go answerName(server, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2}) // ends with the connection
		return c, nil
	}}
	_, port, err := net.SplitHostPort(testpeer.RefusedAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := TCP{}.Dial(t.Context(), "two.example:"+port)
	if err == nil {
		c.Close()
		t.Fatal("connected")
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || len(e.Tried) != 2 || !strings.Contains(err.Error(), "failed too)") || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%v, want both addresses", err)
	}
}

// answerName is a name server on a stream (RFC 1035, section 4.2.2): each name
// has these IPv4 addresses and no others.
func answerName(c net.Conn, addrs ...[4]byte) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b) != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			for _, a := range addrs {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: a},
				})
			}
		}
		out, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}
