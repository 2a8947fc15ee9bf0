package dial

import (
	"context"
	"net"
	"os"
)

// Stdio is a connection that exists already: In and Out, by default our own
// standard input and output (ssh_config: ProxyCommand -).
type Stdio struct {
	In, Out *os.File
}

// Dial returns the connection, with deadlines and CloseWrite. It works on copies
// of the descriptors, as OpenSSH does, and makes what they refer to non-blocking.
func (d Stdio) Dial(ctx context.Context, _ string) (net.Conn, error) {
	fail := func(err error) error {
		return &Error{Stage: StageCommand, Address: "- (standard input and output)", Err: plain(err)}
	}
	if ctx.Err() != nil {
		return nil, fail(context.Cause(ctx))
	}
	if d.In == nil {
		d.In = os.Stdin
	}
	if d.Out == nil {
		d.Out = os.Stdout
	}
	in, err := copyOf(d.In)
	if err != nil {
		return nil, fail(err)
	}
	out, err := copyOf(d.Out)
	if err != nil {
		in.Close()
		return nil, fail(err)
	}
	c := newPipeConn(in, out, commandAddr("standard input and output"), nil)
	c.out = sending(c.out)
	return c, nil
}
