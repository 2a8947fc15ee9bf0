package dial

import (
	"context"
	"net"
)

// Unix dials a unix socket. The address that Dial is given only names the
// server, for its host key: the socket is the same for all.
type Unix struct {
	Path string
}

// Dial connects to the socket. The connection is a *net.UnixConn.
func (d Unix) Dial(ctx context.Context, _ string) (net.Conn, error) {
	var nd net.Dialer
	c, err := nd.DialContext(ctx, "unix", d.Path)
	if err == nil {
		return c, nil
	}
	e := &Error{Stage: StageConnect, Address: d.Path, Err: plain(err)}
	if ctx.Err() != nil {
		e.Err = context.Cause(ctx)
	}
	return nil, e
}
