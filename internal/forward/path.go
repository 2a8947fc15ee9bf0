package forward

import (
	"context"
	"io/fs"
	"net"
	"os"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/unixsock"
)

// DefaultSocketMode are the permissions of a unix socket unless
// Config.SocketMode says otherwise: StreamLocalBindMask's default is 0177.
const DefaultSocketMode fs.FileMode = 0o600

// listenPath listens on a unix socket. What lies at the path already is only
// removed with cfg.ReplaceSocket, and only if it is a socket.
func listenPath(path string, cfg Config) (net.Listener, error) {
	path = unixsock.Name(path)
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
	l, err := unixsock.Listen(path, mode)
	if err != nil {
		e := &ListenError{Path: path, Err: err}
		if isBusy(err) {
			e.whoHas()
		}
		return nil, e
	}
	return l, nil
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
	c, err := dialer().DialContext(ctx, "unix", unixsock.Name(path))
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}
