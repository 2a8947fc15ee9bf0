package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Fdpass dials by running a program that connects and hands over the socket
// (ssh_config: ProxyUseFdpass yes): it sends one byte and, with SCM_RIGHTS, the
// descriptor, over the unix socket that is its standard input and output, and
// ends. See Command for the fields.
//
// As with OpenSSH (sshconnect.c, ssh_proxy_fdpass_connect), the byte's value,
// what comes behind it, more descriptors and the exit status don't matter.
type Fdpass Command

// Dial runs the program, receives the socket and waits for the program's end.
// ctx bounds all of that, which OpenSSH does not. The connection is a
// *net.TCPConn or a *net.UnixConn if it is one of these, and in any case has
// deadlines and CloseWrite. The address is not used: the line names it.
func (d Fdpass) Dial(ctx context.Context, _ string) (net.Conn, error) {
	if ctx.Err() != nil {
		return nil, Command(d).fail(context.Cause(ctx))
	}
	c, err := d.dial(ctx)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return nil, Command(d).fail(err)
}

// fdpassError is a program that passed no connection.
type fdpassError struct {
	what string
	hint string
}

func (e *fdpassError) Error() string { return e.what }

const fdpassHint = "a command that carries the connection itself, instead of passing a socket, needs ProxyUseFdpass no"

var errNoEnd = errors.New("it passed a connection, but did not end")
