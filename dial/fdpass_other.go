//go:build !unix

package dial

import (
	"context"
	"net"
)

func (d Fdpass) dial(context.Context) (net.Conn, error) {
	return nil, &fdpassError{"passing a socket is not possible on this system", fdpassHint}
}
