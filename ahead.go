package adit

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/wire"
)

// ahead is the channel of Config.Ahead: asked for before anybody wants it.
type ahead struct {
	target string // host:port; empty for none

	mu sync.Mutex
	op *mux.Opening // until it was taken; guarded by mu
}

// aheadOriginator is where the channel says that it comes from.
var aheadOriginator = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 65535)

// begin prepares the open.
func (a *ahead) begin(m *mux.Mux) error {
	host, port, err := net.SplitHostPort(a.target)
	if err != nil {
		return err
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return err
	}
	a.op, err = m.Begin(wire.ChannelDirectTCPIP, directTCPIP(host, uint16(n), aheadOriginator), mux.Options{})
	return err
}

// take returns the opening for a target, once.
func (a *ahead) take(host string, port uint16) *mux.Opening {
	if a.target == "" || net.JoinHostPort(host, strconv.Itoa(int(port))) != a.target {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	op := a.op
	a.op = nil
	return op
}

// direct opens a direct-tcpip channel, or takes the one that was asked for.
func (c *Client) direct(ctx context.Context, host string, port uint16, originator netip.AddrPort) (*Conn, error) {
	if op := c.ahead.take(host, port); op != nil {
		return op.Wait(ctx)
	}
	return c.m.Open(ctx, wire.ChannelDirectTCPIP, directTCPIP(host, port, originator), mux.Options{})
}

func directTCPIP(host string, port uint16, originator netip.AddrPort) []byte {
	d := wire.DirectTCPIP{Host: host, Port: uint32(port),
		OriginatorAddr: originator.Addr().Unmap().String(), OriginatorPort: uint32(originator.Port())}
	return d.Append(nil)
}
