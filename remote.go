package adit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/wire"
)

// RemoteListenError says that the server does not listen for us. It gives no
// reason (RFC 4254, section 7.1): an address that is taken, or a configuration
// that forbids it.
type RemoteListenError struct {
	Host string // as asked for: "localhost" is loopback, "" all interfaces
	Port uint16
	Path string // of a unix socket, instead of Host and Port
}

func (e *RemoteListenError) Error() string {
	if e.Path != "" {
		return fmt.Sprintf("the server refused to listen on the path %.300q", e.Path)
	}
	return "the server refused to listen on " + net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// errSameForward is a request for what the server does for us already.
var errSameForward = errors.New("this connection has a listener there already")

// remotes are the addresses that the server listens on for us. Only connections
// to these are accepted.
type remotes struct {
	mu  sync.Mutex
	all []*remote // guarded by mu
}

// remote is one address that the server listens on, or was asked to.
type remote struct {
	// Immutable.
	host  string // as it was asked for, and as the server repeats it
	path  string // instead of host and port
	serve func(in *incoming)

	// Guarded by remotes.mu.
	port  uint16 // 0 until the server has chosen one
	ready bool   // the server has agreed
	gone  bool   // nobody wants it any more
}

func (r *remote) is(path, host string, port uint16) bool {
	return r.path == path && r.host == host && r.port == port
}

// find returns who serves connections to an address. The host is compared as a
// text, as OpenSSH does (channels.c, open_listen_match_tcpip).
func (t *remotes) find(path, host string, port uint16) *remote {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.all {
		if r.ready && r.is(path, host, port) {
			return r
		}
	}
	return nil
}

// add enters r, unless that would make two of the same.
func (t *remotes) add(r *remote) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if (r.path != "" || r.port != 0) && slices.ContainsFunc(t.all, func(o *remote) bool { return o.is(r.path, r.host, r.port) }) {
		return errSameForward
	}
	t.all = append(t.all, r)
	return nil
}

// drop takes r out. It reports whether the server listens, and has to be told.
func (t *remotes) drop(r *remote) (listens bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	listens = r.ready && !r.gone
	r.gone, r.ready = true, false
	t.all = slices.DeleteFunc(t.all, func(o *remote) bool { return o == r })
	return listens
}

// agreed notes that the server listens. It reports false when nobody wants that
// any more.
func (t *remotes) agreed(r *remote, port uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.port = port
	r.ready = !r.gone
	return r.ready
}

// listenRemote has the server listen on r and returns the port. When ctx ends
// first, the server is told to stop as soon as it has agreed.
func (c *Client) listenRemote(ctx context.Context, r *remote) (port uint16, err error) {
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	if err := c.remotes.add(r); err != nil {
		return 0, err
	}
	asked := r.port
	name, data := wire.GlobalTCPIPForward, (&wire.TCPIPForward{Addr: r.host, Port: uint32(asked)}).Append(nil)
	if r.path != "" {
		name, data = wire.GlobalStreamlocalForward, (&wire.StreamlocalForward{Path: r.path}).Append(nil)
	}
	result := make(chan error, 1)
	err = c.m.Ask(ctx, name, data, func(ok bool, reply []byte, err error) {
		// Before anything that the server sends behind its answer, such as the
		// first connection to a port that it has chosen.
		chosen := asked
		switch {
		case err != nil:
		case !ok:
			err = &RemoteListenError{Host: r.host, Port: asked, Path: r.path}
		case r.path == "" && asked == 0:
			var m wire.TCPIPForwardReply
			if perr := wire.ParseBody(reply, &m); perr != nil || m.Port == 0 || m.Port > 65535 {
				err = errors.New("the server did not say which port it has chosen")
			}
			chosen = uint16(m.Port)
		}
		if err == nil && !c.remotes.agreed(r, chosen) {
			r.cancel(c, chosen)
		}
		result <- err
	})
	if err == nil {
		select {
		case err = <-result:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		c.unlisten(r)
		return 0, err
	}
	c.remotes.mu.Lock()
	defer c.remotes.mu.Unlock()
	return r.port, nil
}

// unlisten refuses what comes for r from now on, and has the server stop
// listening. The server does so before it heeds anything that is sent later.
func (c *Client) unlisten(r *remote) {
	if c.remotes.drop(r) {
		r.cancel(c, r.port)
	}
}

// cancel asks the server to stop. There is no use in its answer. If the message
// does not go out, the connection has ended and the listener with it.
func (r *remote) cancel(c *Client, port uint16) {
	if r.path != "" {
		c.m.Tell(wire.GlobalCancelStreamlocalForward, (&wire.StreamlocalForward{Path: r.path}).Append(nil))
		return
	}
	c.m.Tell(wire.GlobalCancelTCPIPForward, (&wire.TCPIPForward{Addr: r.host, Port: uint32(port)}).Append(nil))
}

// incoming is a connection to a remote that waits for its answer. It is a
// forward.Incoming.
type incoming struct {
	*mux.Pending
	local, originator net.Addr
}

// Accept implements forward.Incoming.
func (in *incoming) Accept() (relay.Conn, error) {
	ch, err := in.accept()
	if err != nil {
		return nil, err
	}
	return ch, nil
}

func (in *incoming) accept() (*Conn, error) {
	ch, err := in.Pending.Accept(mux.Options{})
	if err != nil {
		return nil, err
	}
	ch.SetAddrs(in.local, in.originator)
	return ch, nil
}

// Originator implements forward.Incoming.
func (in *incoming) Originator() string {
	if in.originator.Network() == "unix" {
		return "a process at the server" // it has no address
	}
	return in.originator.String()
}

// opened answers the server's opens. It may open what we asked it to listen for,
// and the agent if that is forwarded, and nothing else.
func (c *Client) opened(p *mux.Pending) {
	in := &incoming{Pending: p}
	var r *remote
	switch p.Type() {
	case wire.ChannelAuthAgentOpenSSH, wire.ChannelAgentConnect:
		if f := c.agent.Load(); f != nil {
			c.serveAgent(f, p)
			return
		}
	case wire.ChannelForwardedTCPIP:
		var d wire.ForwardedTCPIP
		if wire.ParseBody(p.Data(), &d) != nil || d.Port == 0 || d.Port > 65535 {
			p.Reject(wire.OpenConnectFailed, "malformed address")
			return
		}
		if r = c.remotes.find("", d.Addr, uint16(d.Port)); r != nil {
			in.local = listenAddr(d.Addr, uint16(d.Port))
			in.originator = originatorAddr(d.OriginatorAddr, d.OriginatorPort)
		}
	case wire.ChannelForwardedStreamlocal:
		var d wire.ForwardedStreamlocal
		if wire.ParseBody(p.Data(), &d) != nil || d.Path == "" {
			p.Reject(wire.OpenConnectFailed, "malformed path")
			return
		}
		if r = c.remotes.find(d.Path, "", 0); r != nil {
			in.local = &net.UnixAddr{Name: d.Path, Net: "unix"}
			in.originator = &net.UnixAddr{Name: "@", Net: "unix"}
		}
	}
	if r == nil {
		refuse(p)
		return
	}
	r.serve(in)
}

// listenAddr is what the server listens on, as a listener of our own would tell
// its address where that is possible: loopback by its IPv4 address, all
// interfaces by "::".
func listenAddr(host string, port uint16) net.Addr {
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "":
		host = "::"
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, port))
	}
	return hostAddr(net.JoinHostPort(host, strconv.Itoa(int(port))))
}

// originatorAddr is who has connected, which is for the server to say.
func originatorAddr(host string, port uint32) net.Addr {
	if a, err := netip.ParseAddr(host); err == nil && port <= 65535 {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.Unmap(), uint16(port)))
	}
	return hostAddr(transport.Sanitize(net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10)), 300))
}
