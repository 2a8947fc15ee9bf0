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
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/testnet"
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

// IPQoS is set for both families.
func TestTCPTOS(t *testing.T) {
	for address, option := range map[string][2]int{"127.0.0.1:0": {unix.IPPROTO_IP, unix.IP_TOS}, "[::1]:0": {unix.IPPROTO_IPV6, unix.IPV6_TCLASS}} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Skip(err) // no IPv6 here
		}
		defer l.Close()
		for _, tos := range []int{0, 0x48, 0xb8} {
			c, err := TCP{TOS: tos}.Dial(t.Context(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) {
				if got, err := unix.GetsockoptInt(int(fd), option[0], option[1]); err != nil || got != tos {
					t.Errorf("%s: the type of service is %#x, %v; want %#x", address, got, err, tos)
				}
			})
		}
	}
}

// named has each name resolve to these addresses. The name server is the test's
// own.
func named(t *testing.T, addrs ...[4]byte) {
	usual := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = usual })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		c, server := net.Pipe()
		go answerName(server, addrs...) // ends with the connection
		return c, nil
	}}
}

// An address that does not answer holds the others up for 250 ms, and one that
// refuses not at all.
func TestHappyEyeballs(t *testing.T) {
	named(t, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2}, [4]byte{127, 0, 0, 3})
	var silent, port string
	var l net.Listener
	for try := 0; l == nil; try++ { // until nobody else has taken the port at 127.0.0.3
		silent = testnet.FullBacklog(t)
		var err error
		if _, port, err = net.SplitHostPort(silent); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp4", "127.0.0.3:"+port); err != nil && try == 10 { // nobody is at 127.0.0.2
			t.Fatal(err)
		}
	}
	defer l.Close()
	begin := time.Now()
	c, err := TCP{Timeout: time.Minute}.Dial(t.Context(), "three.example:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != l.Addr().String() {
		t.Errorf("connected to %s, want %s", got, l.Addr())
	}
	if took := time.Since(begin); took < attemptDelay || took > 3*time.Second {
		t.Errorf("connected after %v, want little more than %v", took, attemptDelay)
	}
	// One address alone: the time is told.
	_, err = TCP{Timeout: 300 * time.Millisecond}.Dial(t.Context(), silent)
	if err == nil || !strings.Contains(err.Error(), "no answer within 300ms") {
		t.Errorf("a silent address: %v", err)
	}
}

// ConnectionAttempts is for servers that are about to start.
func TestTCPAttempts(t *testing.T) {
	addr := testpeer.RefusedAddr(t)
	begin := time.Now()
	if c, err := (TCP{Attempts: 2}).Dial(t.Context(), addr); err == nil {
		c.Close()
		t.Fatal("connected")
	} else if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("got %v, want a refusal", err)
	}
	if took := time.Since(begin); took < roundDelay || took > 2*roundDelay {
		t.Errorf("two attempts took %v, want a second", took)
	}
	begin = time.Now()
	_, err := TCP{Attempts: 100, Timeout: 50 * time.Millisecond}.Dial(t.Context(), addr)
	if err == nil || time.Since(begin) > roundDelay {
		t.Errorf("got %v after %v, want the end of the time between two attempts", err, time.Since(begin))
	}
}

// All addresses of a name are told.
func TestTCPRefusedByAll(t *testing.T) {
	named(t, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2})
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
