package forward

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/adit-ssh/adit/internal/unixsock"
)

// tcpListen is the state of a listening socket in /proc/net/tcp.
const tcpListen = "0A"

// holder tells who listens on addr's port in a way that keeps us from it, for
// an error message: "" if there is nothing to be known.
func holder(addr netip.AddrPort) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		inode, uid := listening(table, addr)
		if inode == "" {
			continue
		}
		if pid, name := owner(inode); pid != "" {
			return "pid " + pid + " (" + name + ")"
		}
		return "a process of user id " + uid
	}
	return ""
}

// pathHolder tells who listens on the unix socket that c is connected to.
func pathHolder(c *net.UnixConn) string {
	n, _, err := unixsock.PeerOf(c)
	if err != nil || n <= 0 {
		return ""
	}
	pid := strconv.Itoa(n)
	return "pid " + pid + " (" + command(pid) + ")"
}

// listening finds the socket in table that listens on addr, or on its port for
// all addresses.
func listening(table string, addr netip.AddrPort) (inode, uid string) {
	f, err := os.Open(table)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		// sl local rem st tx:rx tr:tm retrnsmt uid timeout inode
		col := strings.Fields(s.Text())
		if len(col) < 10 || col[3] != tcpListen {
			continue
		}
		at, ok := procAddr(col[1])
		if !ok || at.Port() != addr.Port() {
			continue
		}
		if at.Addr() == addr.Addr() || at.Addr().IsUnspecified() || addr.Addr().IsUnspecified() {
			return col[9], col[7]
		}
	}
	return "", ""
}

// procAddr reads "0100007F:1F90": words in the machine's order, then the port.
func procAddr(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	b, err := hex.DecodeString(host)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}

// owner looks for the process that has the socket open. Only those that we may
// look into are found: our own user's, or all for root.
func owner(inode string) (pid, name string) {
	want := "socket:[" + inode + "]"
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return "", ""
	}
	for _, p := range procs {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		fds := filepath.Join("/proc", p.Name(), "fd")
		open, err := os.ReadDir(fds)
		if err != nil {
			continue
		}
		for _, fd := range open {
			if link, _ := os.Readlink(filepath.Join(fds, fd.Name())); link == want {
				return p.Name(), command(p.Name())
			}
		}
	}
	return "", ""
}

// command returns a process's name, which it can choose itself.
func command(pid string) string {
	b, _ := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.TrimSpace(string(b)))
}
