package adit

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/adit-ssh/adit/internal/relay"
)

// Backlog is how many connections to a listener of Client.Listen wait to be
// accepted. More are refused with RESOURCE_SHORTAGE; what who connected sees of
// it is the server's matter, mostly a connection that is closed at once.
const Backlog = 128

// Listen has the server listen and returns a listener for what connects there
// (RFC 4254, section 7.1; OpenSSH PROTOCOL, section 2.4). ctx bounds the request
// only. A server that refuses is a *RemoteListenError.
//
// network is "tcp", "tcp4" or "tcp6" with host:port, port 0 being for the server
// to choose, or "unix" with a path on the server. As with net.Listen an empty
// host means all interfaces, and "localhost" loopback; the server may heed only
// some of that (sshd_config, GatewayPorts) and does not say so.
//
// Connections have deadlines and CloseWrite, the originator as RemoteAddr, and
// live on when the listener is closed. Close has the server stop listening,
// refuses what was not accepted, and wakes Accept. Addr has the port that the
// server has chosen.
func (c *Client) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	r := new(remote)
	switch network {
	case "tcp", "tcp4", "tcp6":
		host, port, err := hostPort(network, address)
		if err != nil {
			return nil, err
		}
		r.host, r.port = requestHost(network, host), port
	case "unix":
		if r.path = address; address == "" {
			return nil, fmt.Errorf("listen at %s: the path is empty", c.t.RemoteAddr())
		}
	default:
		return nil, fmt.Errorf("listen at %s: unknown network %q", c.t.RemoteAddr(), network)
	}
	l := &listener{c: c, r: r, backlog: make(chan *waiting, Backlog), done: make(chan struct{})}
	r.serve = l.offer
	port, err := c.listenRemote(ctx, r)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Source: c.t.RemoteAddr(), Err: err}
	}
	if l.addr = net.Addr(&net.UnixAddr{Name: r.path, Net: "unix"}); r.path == "" {
		l.addr = listenAddr(r.host, port)
	}
	return l, nil
}

// requestHost is host in tcpip-forward's words, where "" are all interfaces of
// both families.
func requestHost(network, host string) string {
	words := map[string][3]string{"tcp": {"", "", "localhost"}, "tcp4": {"0.0.0.0", "0.0.0.0", "127.0.0.1"}, "tcp6": {"::", "::", "::1"}}[network]
	switch host {
	case "":
		return words[0]
	case "*":
		return words[1]
	case "localhost":
		return words[2]
	}
	return host
}

// listener is a net.Listener at the server.
type listener struct {
	// Immutable.
	c       *Client
	r       *remote
	addr    net.Addr
	backlog chan *waiting
	done    chan struct{} // closed by Close
	once    sync.Once
}

// waiting is a connection in the backlog. Who sets claimed answers it.
type waiting struct {
	*incoming
	claimed  atomic.Bool
	answered chan struct{}
}

// offer puts a connection into the backlog and waits for its answer.
func (l *listener) offer(in *incoming) {
	w := &waiting{incoming: in, answered: make(chan struct{})}
	select {
	case l.backlog <- w:
	default:
		in.Reject(relay.Shortage.OpenFailure())
		return
	}
	select {
	case <-w.answered:
		return
	case <-l.done:
	case <-in.Context().Done():
	}
	if w.claimed.Swap(true) {
		<-w.answered // Accept is about to
		return
	}
	refuse(in.Pending)
}

// Accept implements net.Listener. Its connections are of type *Conn. After
// Close, and after the Client's, the error is net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		select {
		case <-l.done:
			return nil, l.opError(net.ErrClosed)
		default:
		}
		select {
		case w := <-l.backlog:
			if w.claimed.Swap(true) {
				continue
			}
			ch, err := w.accept()
			close(w.answered)
			if err == nil {
				return ch, nil
			}
			// There are too many channels, or the connection has ended.
		case <-l.done:
		case <-l.c.Done():
			return nil, l.opError(l.c.Err())
		}
	}
}

func (l *listener) opError(err error) error {
	return &net.OpError{Op: "accept", Net: l.addr.Network(), Source: l.c.t.RemoteAddr(), Addr: l.addr, Err: err}
}

// Close implements net.Listener. It does not wait for the server.
func (l *listener) Close() error {
	err := l.opError(net.ErrClosed)
	l.once.Do(func() {
		close(l.done)
		l.c.unlisten(l.r)
		err = nil
	})
	return err
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }
