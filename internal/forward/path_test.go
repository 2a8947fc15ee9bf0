package forward

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// openPath opens "channels" to unix sockets.
func openPath(ctx context.Context, path string) (relay.Conn, error) { return dialPath(ctx, path) }

func echoPath(c *net.UnixConn) {
	question, _ := io.ReadAll(c)
	io.WriteString(c, "you said "+strconv.Quote(string(question)))
}

// All four pairs of TCP and unix sockets, with half-close.
func TestPaths(t *testing.T) {
	testnet.Census(t)
	dir := testnet.SocketDir(t)
	target, _ := testnet.ServeUnix(t, echoPath)
	s := &server{hosts: map[string]string{"a:80": testnet.ServeTCP(t, echoAfterEOF)}}
	for i, arg := range []string{dir + "/in:a:80", "0:" + target, dir + "/in:" + target, "0:a:80"} {
		t.Run(arg, func(t *testing.T) {
			f := start(t, arg, Config{Open: s.open, OpenPath: openPath})
			c, err := net.Dial(f.Addr().Network(), f.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, "hello")
			c.(interface{ CloseWrite() error }).CloseWrite()
			if got, err := io.ReadAll(c); string(got) != `you said "hello"` || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			if i == 0 {
				want := ask{"a:80", netip.MustParseAddrPort("127.0.0.1:65535")}
				if got := s.asks(); len(got) != 1 || got[0] != want {
					t.Errorf("the server was asked for %v, want %v: OpenSSH's words for no address", got, want)
				}
			}
			f.Close()
			if _, err := os.Lstat(dir + "/in"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket is left: %v", err)
			}
		})
	}
}

// A socket has exactly the permissions that are asked for, whatever the umask.
func TestPathMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permissions on sockets")
	}
	dir := testnet.SocketDir(t)
	for _, tt := range []struct{ set, want fs.FileMode }{
		{0, 0o600}, {0o666, 0o666}, {fs.ModeSocket | 0o777, 0o777}, {0o700, 0o700}, {fs.ModeSocket, 0},
	} {
		f := start(t, dir+"/s:a:80", Config{SocketMode: tt.set})
		fi, err := os.Lstat(dir + "/s")
		if err != nil || fi.Mode().Perm() != tt.want {
			t.Errorf("mode %v makes a socket of %v, %v; want %v", tt.set, fi.Mode(), err, tt.want)
		}
		f.Close()
	}
}

// staleSocket leaves a socket behind, as a killed process does.
func staleSocket(t testing.TB, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestPathTaken(t *testing.T) {
	testnet.Census(t)
	dir := testnet.SocketDir(t)
	staleSocket(t, dir+"/stale")
	l, err := net.Listen("unix", dir+"/live")
	if err != nil {
		t.Fatal(err)
	}
	testnet.Serve(t, l, func(net.Conn) {})
	if err := os.WriteFile(dir+"/file", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	comm, _ := os.ReadFile("/proc/self/comm")
	held := ""
	if runtime.GOOS == "linux" {
		held = ", held by pid " + strconv.Itoa(os.Getpid()) + " (" + strings.TrimSpace(string(comm)) + ")"
	}
	listen := func(name string, replace bool) (*Forwarder, error) {
		return Listen(t.Context(), Spec{ListenPath: filepath.Join(dir, name), Host: "a", HostPort: 1}, Config{ReplaceSocket: replace})
	}
	for name, want := range map[string]string{
		"stale": "address already in use by a socket on which nobody listens any more",
		"live":  "address already in use" + held,
		"file":  "address already in use by a file that is no socket",
		"no/s":  "no such file or directory",
	} {
		_, err := listen(name, false)
		path := filepath.Join(dir, name)
		want = "forward " + path + ":a:1: listen on " + path + ": " + want
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n%v\nwant\n%s", name, err, want)
		}
		if e, ok := errors.AsType[*ListenError](err); !ok || (e.Hint() != "") != (name == "stale") {
			t.Errorf("%s: %T with hint %q", name, err, e.Hint())
		}
	}
	// Replaced are sockets only.
	if _, err := listen("file", true); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a file was replaced: %v", err)
	}
	if b, _ := os.ReadFile(dir + "/file"); string(b) != "precious" {
		t.Errorf("the file has %q", b)
	}
	f, err := listen("stale", true)
	if err != nil {
		t.Fatal(err)
	}
	// Whoever replaced ours keeps it when we end.
	os.Remove(dir + "/stale")
	staleSocket(t, dir+"/stale")
	f.Close()
	if _, err := os.Lstat(dir + "/stale"); err != nil {
		t.Errorf("somebody else's socket was removed: %v", err)
	}
}

// A path that begins with @ is a path, not a name in Linux's abstract space.
func TestPathAt(t *testing.T) {
	testnet.Census(t)
	t.Chdir(testnet.SocketDir(t))
	if err := os.Mkdir("@d", 0o700); err != nil {
		t.Fatal(err)
	}
	f := start(t, "@d/s:a:80", Config{Open: (&server{}).open})
	if fi, err := os.Lstat("@d/s"); err != nil || fi.Mode().Type() != fs.ModeSocket {
		t.Errorf("no socket there: %v, %v", fi, err)
	}
	c, err := dialPath(t.Context(), "@d/s")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	f.Close()
}

// nc -N is a client that half-closes, over a socket's path.
func TestPathNetcat(t *testing.T) {
	testpeer.Need(t, "nc")
	testnet.Census(t)
	dir := testnet.SocketDir(t)
	target, _ := testnet.ServeUnix(t, echoPath)
	start(t, dir+"/in:"+target, Config{OpenPath: openPath})
	cmd := exec.Command("nc", "-N", "-U", dir+"/in")
	cmd.Stdin = strings.NewReader("hello")
	if out, err := cmd.CombinedOutput(); string(out) != `you said "hello"` || err != nil {
		t.Errorf("nc printed %q, %v", out, err)
	}
}

// -W to a path.
func TestStdioPath(t *testing.T) {
	testnet.Census(t)
	target, _ := testnet.ServeUnix(t, echoPath)
	var out strings.Builder
	spec, err := ParseStdio(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := Stdio(t.Context(), spec, strings.NewReader("hello"), &out, Config{OpenPath: openPath}); err != nil || out.String() != `you said "hello"` {
		t.Errorf("wrote %q, %v", out.String(), err)
	}
}
