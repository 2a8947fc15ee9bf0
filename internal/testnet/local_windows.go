package testnet

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

var pipes atomic.Int64 // made so far

// LocalPath returns a path for ListenLocal at which nobody listens: of a unix socket
// in a folder of the test's, on Windows of a named pipe.
func LocalPath(testing.TB) string {
	return fmt.Sprintf(`\\.\pipe\adit-test-%d-%d`, os.Getpid(), pipes.Add(1))
}

// ListenLocal listens on a path as agents do: at a unix socket, on Windows at a named
// pipe, which has no half-close.
func ListenLocal(path string) (net.Listener, error) {
	l, err := winio.ListenPipe(path, nil)
	if err != nil || windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() != nil {
		return l, err
	}
	// The pipe's first instance has its name only, and Windows lets nobody connect to
	// it. Wine does: the first who comes would wait for ever.
	first, err := winio.DialPipe(path, nil)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &occupied{l, first}, nil
}

// occupied is a pipe whose first instance has a client.
type occupied struct {
	net.Listener
	first net.Conn
}

// Close implements net.Listener.
func (o *occupied) Close() error {
	o.first.Close()
	return o.Listener.Close()
}
