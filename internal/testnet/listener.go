package testnet

import (
	"context"
	"net"
	"sync"
)

// Listener accepts connections in memory.
type Listener struct {
	options Options
	accept  chan *Conn
	done    chan struct{}
	close   sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a listener whose connections are Pipes with the given options.
func Listen(o Options) *Listener {
	return &Listener{options: o, accept: make(chan *Conn), done: make(chan struct{})}
}

// Dial connects, waiting until the connection is accepted.
func (l *Listener) Dial(ctx context.Context) (*Conn, error) {
	client, server := Pipe(l.options)
	select {
	case l.accept <- server:
		return client, nil
	case <-l.done:
		return nil, client.wrap("dial", errClosed)
	case <-ctx.Done():
		return nil, client.wrap("dial", context.Cause(ctx))
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: errClosed}
	}
}

// Close implements net.Listener. Accepted connections stay.
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return Addr("listener") }
