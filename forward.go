package adit

import (
	"context"
	"io"
	"net"
	"net/netip"

	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/relay"
)

// Forward is a listener on our side whose connections end at a target that the
// server reaches, as OpenSSH's -L and -D.
type Forward struct {
	// Listen is host:port or :port to listen on. Host "" is loopback, "*" all
	// interfaces; port 0 lets the system choose.
	Listen string
	// Target is host:port as the server reaches it. Empty makes Listen a proxy
	// for SOCKS4, 4a, 5 and HTTP CONNECT.
	Target string
}

// Forwarding is a running Forward. It ends with Close, or when nobody can be
// served any more because the Client has ended.
type Forwarding struct{ f *forward.Forwarder }

// Forward starts listening. Nothing is sent to the server until somebody
// connects.
func (c *Client) Forward(ctx context.Context, fw Forward) (*Forwarding, error) {
	host, port, err := net.SplitHostPort(fw.Listen)
	if err != nil {
		return nil, err
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, err
	}
	spec := forward.Spec{Bind: host, Port: uint16(n), Dynamic: fw.Target == ""}
	if !spec.Dynamic {
		if spec.Host, spec.HostPort, err = forward.ParseTarget(fw.Target); err != nil {
			return nil, err
		}
	}
	return c.ForwardSpec(ctx, spec, false, "")
}

// ForwardSpec is Forward for a parsed command line. gateway is GatewayPorts;
// network is "tcp4" or "tcp6" to listen on one family only (AddressFamily).
func (c *Client) ForwardSpec(ctx context.Context, spec forward.Spec, gateway bool, network string) (*Forwarding, error) {
	f, err := forward.Listen(ctx, spec, forward.Config{Open: c.opener, Tracer: c.cfg.Tracer, GatewayPorts: gateway, Network: network})
	if err != nil {
		return nil, err
	}
	return &Forwarding{f}, nil
}

// ForwardStdio connects in and out with the target of a parsed command line
// (-W) until both directions have ended or ctx is done. It closes out.
func (c *Client) ForwardStdio(ctx context.Context, spec forward.Spec, in io.Reader, out io.Writer) error {
	return forward.Stdio(ctx, spec, in, out, forward.Config{Open: c.opener, Tracer: c.cfg.Tracer})
}

func (c *Client) opener(ctx context.Context, host string, port uint16, originator netip.AddrPort) (relay.Conn, error) {
	ch, err := c.OpenDirect(ctx, host, port, originator)
	if err != nil {
		return nil, err
	}
	return ch, nil
}

// Addr returns the address that it listens on.
func (f *Forwarding) Addr() net.Addr { return f.f.Addr() }

// Skipped returns why addresses that were asked for are not listened on while
// others are.
func (f *Forwarding) Skipped() []error { return f.f.Skipped() }

// Close stops listening, ends its connections and waits for them.
func (f *Forwarding) Close() error { return f.f.Close() }
