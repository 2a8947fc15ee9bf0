package setup

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What the command line says about the TCP connection reaches the dialer.
func TestConfigDials(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	known := filepath.Join(t.TempDir(), "known_hosts")
	for _, tt := range []struct {
		o    Options
		from string // "" if it must fail
		err  string
	}{
		{Options{}, "127.0.0.1", ""},
		{Options{BindAddress: "127.0.0.2", AddressFamily: "tcp4"}, "127.0.0.2", ""},
		{Options{BindAddress: "192.0.2.1"}, "", "bind address 192.0.2.1: "},
		{Options{AddressFamily: "tcp6"}, "", "127.0.0.1"},
	} {
		if tt.from == "127.0.0.2" && runtime.GOOS != "linux" {
			continue // elsewhere loopback has one address
		}
		tt.o.Host, tt.o.KnownHosts = "127.0.0.1", []string{known}
		cfg, err := tt.o.Config()
		if err != nil {
			t.Fatal(err)
		}
		c, err := cfg.Dial(t.Context(), l.Addr().String())
		if err != nil {
			if tt.from != "" || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("-b %q, %q: got %v, want a connection from %q or an error with %q", tt.o.BindAddress, tt.o.AddressFamily, err, tt.from, tt.err)
			}
			continue
		}
		if got := c.LocalAddr().(*net.TCPAddr).IP.String(); got != tt.from {
			t.Errorf("-b %q: connects from %s, want %s", tt.o.BindAddress, got, tt.from)
		}
		c.Close()
	}
}
