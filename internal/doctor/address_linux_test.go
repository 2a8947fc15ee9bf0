package doctor

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// filtered returns a port that drops what it is sent, as a firewall does: its
// listener takes no more connections than those that wait already.
func filtered(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(at.(*unix.SockaddrInet4).Port)
	for range 10 {
		c, err := net.DialTimeout("tcp4", "127.0.0.1:"+port, 100*time.Millisecond)
		if os.IsTimeout(err) {
			return port
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog takes connections without end")
	return ""
}

// A port behind a firewall that drops is told from one that refuses.
func TestFilteredPort(t *testing.T) {
	p := newPatient(t, base+"ConnectTimeout 1\n", "", "{PORT}", filtered(t), "{USER}", "ann")
	r := p.examine(t, Options{})
	if r.ExitStatus() != int(StageAddress) {
		t.Errorf("exit status %d, want %d", r.ExitStatus(), StageAddress)
	}
	if f := r.Failure(); f == nil || f.Took < time.Second || !strings.Contains(f.Meaning, "firewall") {
		t.Errorf("got %+v, want a timeout after a second that speaks of firewalls", f)
	}
	p.wantGolden(t, "filtered", r)
}
