package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/trace"
)

// needIPv6 skips a test where there is no ::1.
func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 loopback: %v", err)
	}
	l.Close()
}

func hosts(f *Forwarder) string {
	var all []string
	port := netip.MustParseAddrPort(f.Addr().String()).Port()
	for _, a := range f.Addrs() {
		ap := netip.MustParseAddrPort(a.String())
		if ap.Port() != port {
			return fmt.Sprintf("different ports: %v", f.Addrs())
		}
		all = append(all, ap.Addr().String())
	}
	return strings.Join(all, " ")
}

func TestListenAddresses(t *testing.T) {
	needIPv6(t)
	testnet.Census(t)
	for _, tt := range []struct {
		bind string
		cfg  Config
		want string
	}{
		{"", Config{}, "127.0.0.1 ::1"},
		{"localhost", Config{GatewayPorts: true}, "127.0.0.1 ::1"},
		{"", Config{Network: "tcp4"}, "127.0.0.1"},
		{"", Config{Network: "tcp6"}, "::1"},
		{"", Config{GatewayPorts: true}, "0.0.0.0 ::"},
		{"*", Config{}, "0.0.0.0 ::"},
		{"127.0.0.1", Config{GatewayPorts: true}, "127.0.0.1"},
		{"::1", Config{}, "::1"},
		{"0.0.0.0", Config{}, "0.0.0.0"},
	} {
		f, err := Listen(t.Context(), Spec{Bind: tt.bind, Dynamic: true}, tt.cfg)
		if err != nil {
			t.Errorf("bind %q, %+v: %v", tt.bind, tt.cfg, err)
			continue
		}
		if got := hosts(f); got != tt.want || len(f.Skipped()) != 0 {
			t.Errorf("bind %q, %+v: %s, skipped %v; want %s", tt.bind, tt.cfg, got, f.Skipped(), tt.want)
		}
		f.Close()
	}
}

func TestListenErrors(t *testing.T) {
	testnet.Census(t)
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port

	_, err = Listen(t.Context(), Spec{Bind: "127.0.0.1", Port: uint16(port), Dynamic: true}, Config{})
	le, ok := errors.AsType[*ListenError](err)
	if !ok || !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("busy port: %v", err)
	}
	want := fmt.Sprintf("forward 127.0.0.1:%d: listen on 127.0.0.1:%d: address already in use", port, port)
	if runtime.GOOS == "linux" {
		comm, _ := os.ReadFile("/proc/self/comm")
		want += fmt.Sprintf(", held by pid %d (%s)", os.Getpid(), strings.TrimSpace(string(comm)))
	}
	if err.Error() != want {
		t.Errorf("busy port:\n%v\nwant\n%s", err, want)
	}
	if le.Addr.Port() != uint16(port) {
		t.Errorf("error about port %d", le.Addr.Port())
	}

	if _, err := Listen(t.Context(), Spec{Bind: "192.0.2.1", Port: 1, Dynamic: true}, Config{}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("somebody else's address: %v", err)
	}
	if _, err := Listen(t.Context(), Spec{Bind: "::1", Dynamic: true}, Config{Network: "tcp4"}); err == nil || !strings.Contains(err.Error(), `"::1" has no IPv4 address`) {
		t.Errorf("IPv6 with -4: %v", err)
	}
	if _, err := Listen(t.Context(), Spec{TargetPath: "/tmp/x"}, Config{}); !errors.Is(err, errPath) {
		t.Errorf("a path as target without OpenPath: %v, want %v", err, errPath)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f, err := Listen(ctx, Spec{Bind: "name.invalid", Dynamic: true}, Config{}); err == nil {
		f.Close()
		t.Error("an unknown name was listened on")
	}
}

// One address of two that is taken does not keep us from the other, but it is
// told: some clients would reach somebody else's service.
func TestListenSkipped(t *testing.T) {
	needIPv6(t)
	testnet.Census(t)
	var ev *events
	var f *Forwarder
	for try := 0; f == nil; try++ { // until nobody else has taken the port at [::1]
		busy, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer busy.Close()
		ev = new(events)
		f, err = Listen(t.Context(), Spec{Port: uint16(busy.Addr().(*net.TCPAddr).Port), Dynamic: true}, Config{Tracer: ev})
		if err != nil && (try == 10 || !errors.Is(err, syscall.EADDRINUSE)) {
			t.Fatal(err)
		}
	}
	defer f.Close()
	if hosts(f) != "::1" || len(f.Skipped()) != 1 || !errors.Is(f.Skipped()[0], syscall.EADDRINUSE) {
		t.Errorf("listens on %s, skipped %v", hosts(f), f.Skipped())
	}
	var told []string
	for _, e := range ev.of("listen") {
		told = append(told, e.Local+e.Err)
	}
	if len(told) != 2 || !strings.Contains(told[0], "address already in use") || told[1] != f.Addr().String() {
		t.Errorf("told %q", told)
	}
}

// A port that the system chose is given up when the other family has it taken.
func TestListenChosenPortRetries(t *testing.T) {
	needIPv6(t)
	testnet.Census(t)
	for range 100 {
		f, err := Listen(t.Context(), Spec{Dynamic: true}, Config{Tracer: trace.Tracer(nil)})
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Addrs()) != 2 {
			t.Errorf("listens on %v", f.Addrs())
		}
		f.Close()
	}
}

func TestListenErrorPrivileged(t *testing.T) {
	err := &ListenError{Addr: netip.MustParseAddrPort("127.0.0.1:80"), Err: &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}}
	if want := "listen on 127.0.0.1:80: permission denied: ports below 1024 are for privileged users"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}
