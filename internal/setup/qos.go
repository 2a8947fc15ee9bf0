package setup

import (
	"context"
	"net"
)

// marked gives the connections of dial a service class (ssh_config: IPQoS). A
// system that refuses it is no reason not to connect; it is none for OpenSSH.
func marked(dial func(context.Context, string) (net.Conn, error), tos int) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		nc, err := dial(ctx, address)
		if tc, ok := nc.(*net.TCPConn); ok && err == nil {
			mark(tc, tos)
		}
		return nc, err
	}
}
