package testnet

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Serve has handle serve each connection that l accepts, all at once, and closes it
// then. C is what handle takes a connection for: net.Conn, or the type that l gives.
// ended closes l and waits until all are served, so it hangs while somebody leaves a
// connection open to a handle that reads to its end; it runs with the test's end too.
func Serve[C net.Conn](t testing.TB, l net.Listener, handle func(C)) (ended func()) {
	t.Helper()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				handle(c.(C))
			})
		}
	})
	ended = sync.OnceFunc(func() {
		l.Close()
		serving.Wait()
	})
	t.Cleanup(ended)
	return ended
}

// ServeTCP is Serve at a free port of 127.0.0.1. It returns host:port.
func ServeTCP(t testing.TB, handle func(*net.TCPConn)) (addr string) {
	t.Helper()
	l := listen(t, "tcp4", "127.0.0.1:0")
	Serve(t, l, handle)
	return l.Addr().String()
}

// ServeUnix is Serve on a unix socket in a folder of its own.
func ServeUnix[C net.Conn](t testing.TB, handle func(C)) (path string, ended func()) {
	t.Helper()
	path = filepath.Join(SocketDir(t), "socket")
	return path, Serve(t, listen(t, "unix", path), handle)
}

// ServeLocal is Serve where agents listen (ListenLocal).
func ServeLocal(t testing.TB, handle func(net.Conn)) (path string, ended func()) {
	t.Helper()
	path = LocalPath(t)
	l, err := ListenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, Serve(t, l, handle)
}

// SocketDir is a folder for the test's time whose name leaves room for sockets'
// names: their paths end at about a hundred bytes, and t.TempDir's has the test's
// name in it.
func SocketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "adit")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TCPPipe returns both ends of a connection over loopback, where Pipe's would hide
// what a socket can do. They are closed with the test's end.
func TCPPipe(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l := listen(t, "tcp4", "127.0.0.1:0")
	defer l.Close()
	near, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near.(*net.TCPConn), far.(*net.TCPConn)
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
