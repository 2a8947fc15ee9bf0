//go:build unix

package unixsock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// leave leaves a socket behind, as a killed process does.
func leave(t testing.TB, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// files are the names in a folder.
func files(t testing.TB, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

var ways = map[string]func(string, fs.FileMode) (*Listener, error){"Listen": Listen, "Take": Take}

// A socket has exactly the permissions that are asked for, whatever the umask.
func TestMode(t *testing.T) {
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	for name, listen := range ways {
		for _, umask := range []int{0, 0o077, 0o777} {
			for _, mode := range []fs.FileMode{0o600, 0o666, 0o700, 0} {
				syscall.Umask(0o077)
				d := testnet.SocketDir(t)
				syscall.Umask(umask)
				l, err := listen(d+"/s", mode)
				if err != nil {
					t.Fatal(err)
				}
				if fi, err := os.Lstat(d + "/s"); err != nil || fi.Mode() != fs.ModeSocket|mode {
					t.Errorf("%s with umask %o: mode %v, %v, want %v", name, umask, fi.Mode(), err, mode)
				}
				if got := files(t, d); got != "s" {
					t.Errorf("%s left %s", name, got)
				}
				l.Close()
				if err := l.Close(); err != nil || files(t, d) != "" {
					t.Errorf("%s: Close left %s; the second Close: %v", name, files(t, d), err)
				}
			}
		}
	}
}

// What lies at the path stays there, but for Take if it is a socket that nobody
// listens on.
func TestTaken(t *testing.T) {
	d := testnet.SocketDir(t)
	live, err := Listen(d+"/live", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := os.WriteFile(d+"/file", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(d+"/gone", d+"/link"); err != nil {
		t.Fatal(err)
	}
	leave(t, d+"/stale")
	before := files(t, d)
	for name, listen := range ways {
		for _, at := range []string{"live", "file", "link", "stale"} {
			if name == "Take" && at == "stale" {
				continue
			}
			if _, err := listen(d+"/"+at, 0o600); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%s on %s: got %v, want EADDRINUSE", name, at, err)
			}
			if want := at == "stale"; Stale(d+"/"+at) != want {
				t.Errorf("Stale says %v of %s", !want, at)
			}
		}
		if _, err := listen(d+"/no/s", 0o600); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s in no folder: got %v", name, err)
		}
	}
	if got := files(t, d); got != before {
		t.Errorf("the folder has %s, want %s", got, before)
	}
	if b, _ := os.ReadFile(d + "/file"); string(b) != "precious" {
		t.Errorf("the file has %q", b)
	}
	l, err := Take(d+"/stale", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	connect(t, d+"/stale")
	l.Close()
	if got := files(t, d); got != "file link live" {
		t.Errorf("the folder has %s", got)
	}
}

func connect(t testing.TB, path string) {
	t.Helper()
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Errorf("nobody listens: %v", err)
		return
	}
	nc.Close()
}

// Of many that find a stale socket one gets its path, and keeps it.
func TestTakeRace(t *testing.T) {
	for range 20 {
		d := testnet.SocketDir(t)
		leave(t, d+"/s")
		var all sync.WaitGroup
		var mu sync.Mutex
		var won []*Listener
		for range 8 {
			all.Go(func() {
				l, err := Take(d+"/s", 0o600)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won = append(won, l)
				case !errors.Is(err, syscall.EADDRINUSE):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(won) != 1 {
			t.Fatalf("%d got it, want 1", len(won))
		}
		connect(t, d+"/s")
		won[0].Close()
		if got := files(t, d); got != "" {
			t.Errorf("left over: %s", got)
		}
	}
}

// A socket that another has replaced since it was looked at stays where it is.
func TestRemoveThat(t *testing.T) {
	d := testnet.SocketDir(t)
	leave(t, d+"/s")
	old := time.Now().Add(-time.Minute) // file times are some milliseconds coarse
	if err := os.Chtimes(d+"/s", old, old); err != nil {
		t.Fatal(err)
	}
	found, stale := lookStale(d + "/s")
	if !stale {
		t.Fatal("a socket that was left behind is not stale")
	}
	os.Remove(d + "/s")
	l, err := Listen(d+"/s", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if removeThat(d+"/s", found) {
		t.Error("another socket was removed")
	}
	connect(t, d+"/s")
	if got := files(t, d); got != "s" {
		t.Errorf("the folder has %s", got)
	}
}

// A path that leaves no room for the other name works, replacing included; one
// that is too long is an error.
func TestTakeLong(t *testing.T) {
	d := testnet.SocketDir(t)
	path := filepath.Join(d, strings.Repeat("x", MaxPath-len(d)-2))
	leave(t, path)
	l, err := Take(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	connect(t, path)
	if _, err := Take(path, 0o600); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second one: %v", err)
	}
	l.Close()
	if got := files(t, d); got != "" {
		t.Errorf("left over: %s", got)
	}
	for name, listen := range ways {
		if _, err := listen(path+"x", 0o600); !errors.Is(err, syscall.ENAMETOOLONG) {
			t.Errorf("%s: a path that is too long: got %v", name, err)
		}
	}
}

// Closing removes one's own socket and not another that has taken its place.
func TestCloseLeavesOthers(t *testing.T) {
	d := testnet.SocketDir(t)
	first, err := Listen(d+"/s", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(d + "/s")
	second, err := Listen(d+"/s", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	connect(t, d+"/s")
	// One that is passed on is the other process's to remove.
	f, err := second.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	adopted, err := Adopt(l.(*net.UnixListener), second.Path())
	if err != nil {
		t.Fatal(err)
	}
	adopted.Close()
	if got := files(t, d); got != "" {
		t.Errorf("left over: %s", got)
	}
	second.Close()
}

// A path that begins with @ is a path.
func TestAt(t *testing.T) {
	t.Chdir(testnet.SocketDir(t))
	for name, listen := range ways {
		l, err := listen("@s", 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if got := files(t, "."); got != "@s" {
			t.Errorf("%s: the folder has %q", name, got)
		}
		connect(t, l.Path())
		l.Close()
	}
}

// The system tells who has connected, where it knows.
func TestPeerOf(t *testing.T) {
	d := testnet.SocketDir(t)
	l, err := Listen(d+"/s", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err := net.Dial("unix", d+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	pid, uid, err := PeerOf(there)
	switch runtime.GOOS {
	case "linux", "darwin":
		if err != nil || pid != os.Getpid() || uid != os.Geteuid() {
			t.Errorf("got pid %d, uid %d, %v, want %d, %d", pid, uid, err, os.Getpid(), os.Geteuid())
		}
	case "freebsd":
		if err != nil || uid != os.Geteuid() {
			t.Errorf("got uid %d, %v, want %d", uid, err, os.Geteuid())
		}
	}
	there.Close()
	if _, uid, err := PeerOf(there); err == nil && uid != -1 {
		t.Errorf("a closed connection is from uid %d", uid)
	}
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	if pid, uid, err := PeerOf(a); pid != 0 || uid != -1 || err != nil {
		t.Errorf("a pipe is from pid %d, uid %d, %v", pid, uid, err)
	}
}
