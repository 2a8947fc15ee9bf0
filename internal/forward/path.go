package forward

import (
	"context"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/adit-ssh/adit/internal/relay"
)

// DefaultSocketMode are the permissions of a unix socket unless
// Config.SocketMode says otherwise: StreamLocalBindMask's default is 0177.
const DefaultSocketMode fs.FileMode = 0o600

// listenPath listens on a unix socket. What lies at the path already is only
// removed with cfg.ReplaceSocket, and only if it is a socket.
func listenPath(path string, cfg Config) (net.Listener, error) {
	path = socketPath(path)
	if cfg.ReplaceSocket {
		if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() == fs.ModeSocket {
			if err := os.Remove(path); err != nil {
				return nil, &ListenError{Path: path, Err: err}
			}
		}
	}
	mode := DefaultSocketMode
	if cfg.SocketMode != 0 {
		mode = cfg.SocketMode.Perm()
	}
	l, err := bindPath(path, mode)
	if err != nil {
		e := &ListenError{Path: path, Err: err}
		if isBusy(err) {
			e.whoHas()
		}
		return nil, e
	}
	fi, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, &ListenError{Path: path, Err: err}
	}
	return &pathListener{Listener: l, path: path, file: fi}, nil
}

// pathListener removes its socket with Close, unless somebody has put another in
// its place.
type pathListener struct {
	net.Listener
	path string
	file fs.FileInfo
	once sync.Once
}

// Close implements net.Listener.
func (l *pathListener) Close() error {
	l.once.Do(func() {
		if fi, err := os.Lstat(l.path); err == nil && os.SameFile(fi, l.file) {
			os.Remove(l.path)
		}
	})
	return l.Listener.Close()
}

// socketPath keeps a path from being taken for a name in Linux's abstract space,
// which OpenSSH's specifications can't name.
func socketPath(path string) string {
	if strings.HasPrefix(path, "@") {
		return "./" + path
	}
	return path
}

// whoHas completes an error about a path that is taken.
func (e *ListenError) whoHas() {
	fi, err := os.Lstat(e.Path)
	if err != nil {
		return
	}
	if e.NoSocket = fi.Mode().Type() != fs.ModeSocket; e.NoSocket {
		return
	}
	c, err := net.Dial("unix", e.Path) // answers at once
	if err != nil {
		e.Stale = relay.OutcomeOf(err) == relay.Refused
		return
	}
	e.Holder = pathHolder(c.(*net.UnixConn))
	c.Close()
}

// dialer dials the targets of remote forwards. Keepalive is the system's own, as
// for accepted connections.
func dialer() *net.Dialer {
	d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}}
	d.SetMultipathTCP(false)
	return d
}

// dialPath connects to a unix socket.
func dialPath(ctx context.Context, path string) (relay.Conn, error) {
	c, err := dialer().DialContext(ctx, "unix", socketPath(path))
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}
