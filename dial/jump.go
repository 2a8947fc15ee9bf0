package dial

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Through is an SSH server that connects on our behalf. *adit.Client is one.
type Through interface {
	// DialContext connects from there. Network is "tcp".
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// Err says why the connection to the server ended; nil while it lives.
	Err() error
	// Close ends the connection to the server.
	Close() error
}

// Jump dials through another SSH server (ssh_config: ProxyJump).
type Jump struct {
	// Name is what errors call the server.
	Name string
	// Connect logs in there, by whatever way. target is what will be connected
	// to, as host:port, in case that helps (adit.Config.Ahead).
	Connect func(ctx context.Context, target string) (Through, error)
}

// Dial logs in at the server and connects to host:port from there; the name is
// looked up there. To close the connection is to end the login too.
func (d Jump) Dial(ctx context.Context, address string) (net.Conn, error) {
	if ctx.Err() != nil {
		return nil, d.fail(context.Cause(ctx))
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, d.fail(plain(err))
	}
	step := begin(ctx, StageJump, d.Name)
	server, err := d.Connect(ctx, address)
	step.end(err)
	if err != nil {
		return nil, d.fail(err)
	}
	c, err := server.DialContext(ctx, "tcp", address)
	if err != nil {
		server.Close()
		return nil, d.fail(err)
	}
	return &jumpConn{Conn: c, server: server, fail: d.fail}, nil
}

// JumpHost names the last jump host in the chain of errors, which is where it
// happened; "" if it was at none.
func JumpHost(err error) (host string) {
	for e, ok := errors.AsType[*Error](err); ok; e, ok = errors.AsType[*Error](e.Err) {
		if e.Stage == StageJump {
			host = e.Address
		}
	}
	return host
}

func (d Jump) fail(err error) error { return &Error{Stage: StageJump, Address: d.Name, Err: err} }

// jumpConn is a connection that ends its server's with it.
type jumpConn struct {
	net.Conn
	server Through
	fail   func(error) error

	mu     sync.Mutex
	closed bool // guarded by mu
}

// Read tells when it is the jump host's connection that ended.
func (c *jumpConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 && err != nil {
		err = c.reason(err)
	}
	return n, err
}

// Write tells when it is the jump host's connection that ended.
func (c *jumpConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		err = c.reason(err)
	}
	return n, err
}

func (c *jumpConn) reason(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why := c.server.Err(); why != nil && !c.closed {
		return c.fail(why)
	}
	return err
}

// CloseWrite ends our half.
func (c *jumpConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close ends the connection, and the login at the server.
func (c *jumpConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := c.Conn.Close()
	c.server.Close()
	return err
}
