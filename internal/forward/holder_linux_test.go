package forward

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListening(t *testing.T) {
	table := strings.Join([]string{
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
		"   0: 0100007F:1538 00000000:0000 01 00000000:00000000 00:00000000 00000000   0        0 11 1",
		"   1: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   113        0 22 1",
		"   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000   0        0 33 1",
		"   3: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1000 0 44 1",
		"   4: nonsense:zz 00000000:0000 0A 0 0 0 0 0 55",
		"   5: 01:1538",
		"",
	}, "\n")
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the table above is from a little-endian machine")
	}
	path := filepath.Join(t.TempDir(), "tcp")
	if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ addr, inode, uid string }{
		{"127.0.0.1:5432", "22", "113"},
		{"0.0.0.0:5432", "22", "113"},
		{"127.0.0.2:5432", "", ""},
		{"127.0.0.1:80", "33", "0"},
		{"[::1]:8080", "44", "1000"},
		{"[::1]:8081", "", ""},
	} {
		if inode, uid := listening(path, netip.MustParseAddrPort(tt.addr)); inode != tt.inode || uid != tt.uid {
			t.Errorf("%s: inode %q of user %q, want %q, %q", tt.addr, inode, uid, tt.inode, tt.uid)
		}
	}
	if inode, _ := listening(path+"6", netip.MustParseAddrPort("127.0.0.1:80")); inode != "" {
		t.Errorf("a table that isn't there has inode %q", inode)
	}
}

// A process's name is its own choice and goes to a terminal.
func TestCommandIsPrintable(t *testing.T) {
	old, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile("/proc/self/comm", []byte("a\x1b[2Jb"), 0); err != nil {
		t.Skip(err)
	}
	defer os.WriteFile("/proc/self/comm", old, 0)
	if got := command("self"); got != "a?[2Jb" {
		t.Errorf("command %q, want the escape replaced", got)
	}
}
