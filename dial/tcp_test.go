package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/testnet/dialtest"
)

func TestTCP(t *testing.T) { dialtest.Run(t, TCP{}.Dial) }

func TestTCPWithEverything(t *testing.T) {
	dialtest.Run(t, TCP{Network: "tcp4", BindAddress: "127.0.0.1", Timeout: time.Minute, NoKeepAlive: true}.Dial)
}

func listenLoopback(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestTCPBindAddress(t *testing.T) {
	addr := listenLoopback(t)
	c, err := TCP{BindAddress: "127.0.0.1"}.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.LocalAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.1" {
		t.Errorf("connected from %s", got)
	}
	for _, bad := range []string{"192.0.2.1", "no such host", "::1"} {
		c, err := TCP{BindAddress: bad}.Dial(t.Context(), addr)
		if err == nil {
			c.Close()
			t.Errorf("connected from %q", bad)
			continue
		}
		if e, ok := errors.AsType[*Error](err); bad != "::1" && (!ok || e.Stage != StageBind || e.Address != bad) {
			t.Errorf("bind address %q: got %v, want an error of that stage", bad, err)
		}
	}
}

func TestTCPRefused(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = TCP{}.Dial(t.Context(), addr)
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, syscall.ECONNREFUSED) || e.Stage != StageConnect || e.Address != addr {
		t.Fatalf("%#v", err)
	}
	if want := "connect to " + addr + ": connection refused"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !strings.Contains(e.Hint(), "nothing listens") {
		t.Errorf("hint %q", e.Hint())
	}
}

func TestTCPUnknownHost(t *testing.T) {
	_, err := TCP{Timeout: 10 * time.Second}.Dial(t.Context(), "no-such-host.invalid:22")
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Stage != StageResolve {
		t.Fatalf("%#v", err)
	}
	if !strings.HasPrefix(err.Error(), "look up no-such-host.invalid: ") || strings.Count(err.Error(), "no-such-host") != 1 {
		t.Errorf("%q does not say what failed, once", err)
	}
	if e.Hint() == "" {
		t.Errorf("no hint for %v", err)
	}
}

func TestTCPTimeout(t *testing.T) {
	_, err := TCP{Timeout: 1}.Dial(t.Context(), listenLoopback(t))
	if err == nil {
		t.Fatal("connected within a nanosecond")
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 1ns") || !strings.Contains(e.Hint(), "nothing came back") {
		t.Errorf("%v", err)
	}
}

func TestTCPCause(t *testing.T) {
	reason := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	_, err := TCP{}.Dial(ctx, "127.0.0.1:1")
	if !errors.Is(err, reason) || err.Error() != "connect to 127.0.0.1:1: shutting down" {
		t.Errorf("%v, want %v", err, reason)
	}
}

func TestHints(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{unreachableErrnos[0], "no way to that address"},
		{refusedErrno, "nothing listens"},
		{timeoutErrno, "nothing came back"},
		{&net.DNSError{IsNotFound: true}, "no host of that name"},
		{&net.DNSError{IsTimeout: true}, "name server did not answer"},
	} {
		if got := (&Error{Err: tt.err}).Hint(); !strings.Contains(got, tt.want) {
			t.Errorf("%v: hint %q, want %q", tt.err, got, tt.want)
		}
	}
	for _, err := range []error{context.Canceled, errors.New("gremlins")} {
		if got := (&Error{Err: err}).Hint(); got != "" {
			t.Errorf("%v: hint %q, want none", err, got)
		}
	}
}

// RFC 8305, section 4: the families take turns, and the system's first address
// stays the first.
func TestTakeTurns(t *testing.T) {
	for in, want := range map[string]string{
		"::1 ::2 ::3 1.1.1.1":           "::1 1.1.1.1 ::2 ::3",
		"1.1.1.1 1.1.1.2 ::1":           "1.1.1.1 ::1 1.1.1.2",
		"::ffff:1.1.1.1 1.1.1.1 ::1":    "1.1.1.1 ::1",
		"1.1.1.1":                       "1.1.1.1",
		"fe80::1%a fe80::1%b 127.0.0.1": "fe80::1%a 127.0.0.1 fe80::1%b",
	} {
		var ips []netip.Addr
		for s := range strings.FieldsSeq(in) {
			ips = append(ips, netip.MustParseAddr(s))
		}
		var got []string
		for _, ip := range takeTurns(ips) {
			got = append(got, ip.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", in, got, want)
		}
	}
}

// A socket that leads on to each service of the suite.
func TestUnix(t *testing.T) {
	dialtest.Run(t, func(ctx context.Context, address string) (net.Conn, error) {
		far, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err // the service's matter; see TestUnixNobody
		}
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		accepted := make(chan struct{})
		go func() { // ends with the listener, or with both connections
			near, err := l.Accept()
			close(accepted)
			if err != nil {
				far.Close()
				return
			}
			relay.Pipe(context.Background(), near.(*net.UnixConn), far.(*net.TCPConn), nil)
		}()
		c, err := Unix{l.Addr().String()}.Dial(ctx, address)
		if err == nil {
			<-accepted
		}
		return c, err
	})
}

func TestUnixNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := (Unix{path}).Dial(t.Context(), "db:22"); err == nil || !strings.HasPrefix(err.Error(), "connect to "+path+": ") {
		t.Errorf("nobody listens: got %v, want an error that names the path", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Unix{path}.Dial(t.Context(), "db:22")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A link-local address means nothing without its zone.
func TestAddressesKeepZone(t *testing.T) {
	for _, network := range []string{"ip", "ip6"} {
		ips, err := addressesOf(t.Context(), network, "fe80::1%eth7")
		if want := netip.MustParseAddr("fe80::1%eth7"); err != nil || len(ips) != 1 || ips[0] != want {
			t.Errorf("addresses of fe80::1%%eth7 with %s: got %v, %v, want %v", network, ips, err, want)
		}
	}
	if ips, err := addressesOf(t.Context(), "ip4", "fe80::1%eth7"); err == nil {
		t.Errorf("addresses of fe80::1%%eth7 with ip4: got %v, want an error", ips)
	}
}
