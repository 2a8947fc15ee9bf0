package adit

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/relay"
)

// Forward is a listener on one side whose connections end at a target that the
// other side reaches, as OpenSSH's -L, -D and -R.
type Forward struct {
	// Listen is host:port or :port to listen on, or the path of a unix socket,
	// with a slash in it. Host "" is loopback, "*" all interfaces; port 0 lets
	// the system choose.
	Listen string
	// Target is host:port or a path as the other side reaches it. Empty makes
	// Listen a proxy for SOCKS4, 4a, 5 and HTTP CONNECT.
	Target string
	// Remote makes the server listen and us connect to Target. The server may
	// heed only loopback (sshd_config, GatewayPorts).
	Remote bool
}

// Forwarding is a running Forward. It ends with Close, or when nobody can be
// served any more because the Client has ended.
type Forwarding struct {
	// Either is nil.
	local  *forward.Forwarder
	remote *remoteForwarding
}

// Forward starts listening. Unless fw is Remote, nothing is sent to the server
// until somebody connects.
func (c *Client) Forward(ctx context.Context, fw Forward) (*Forwarding, error) {
	spec := forward.Spec{Remote: fw.Remote, Dynamic: fw.Target == ""}
	if strings.Contains(fw.Listen, "/") {
		spec.ListenPath = fw.Listen
	} else {
		host, port, err := net.SplitHostPort(fw.Listen)
		if err != nil {
			return nil, err
		}
		n, err := net.LookupPort("tcp", port)
		if err != nil {
			return nil, err
		}
		spec.Bind, spec.Port = host, uint16(n)
	}
	if strings.Contains(fw.Target, "/") {
		spec.TargetPath = fw.Target
	} else if fw.Target != "" {
		var err error
		if spec.Host, spec.HostPort, err = forward.ParseTarget(fw.Target); err != nil {
			return nil, err
		}
	}
	return c.ForwardSpec(ctx, spec, forward.Config{})
}

// ForwardSpec is Forward for a parsed command line, with cfg for what
// configurations say of all forwards. cfg's Tracer is the Client's own, and so are
// Open and OpenPath unless Open is set.
func (c *Client) ForwardSpec(ctx context.Context, spec forward.Spec, cfg forward.Config) (*Forwarding, error) {
	if cfg.Tracer = c.cfg.Tracer; cfg.Open == nil {
		cfg.Open, cfg.OpenPath = c.opener, c.pathOpener
	}
	if spec.Remote {
		r, err := c.forwardRemote(ctx, spec, cfg)
		if err != nil {
			return nil, err
		}
		return &Forwarding{remote: r}, nil
	}
	f, err := forward.Listen(ctx, spec, cfg)
	if err != nil {
		return nil, err
	}
	return &Forwarding{local: f}, nil
}

// ForwardStdio connects in and out with the target of a parsed command line
// (-W) until both directions have ended or ctx is done. It closes out.
func (c *Client) ForwardStdio(ctx context.Context, spec forward.Spec, in io.Reader, out io.Writer) error {
	return forward.Stdio(ctx, spec, in, out, forward.Config{Open: c.opener, OpenPath: c.pathOpener, Tracer: c.cfg.Tracer})
}

func (c *Client) opener(ctx context.Context, host string, port uint16, originator netip.AddrPort) (relay.Conn, error) {
	ch, err := c.OpenDirect(ctx, host, port, originator)
	if err != nil {
		return nil, err
	}
	return ch, nil
}

func (c *Client) pathOpener(ctx context.Context, path string) (relay.Conn, error) {
	ch, err := c.openPath(ctx, path)
	if err != nil {
		return nil, err
	}
	return ch, nil
}

// remoteForwarding is a forward whose listener is the server's.
type remoteForwarding struct {
	*forward.Remote
	c    *Client
	r    *remote
	addr net.Addr
}

func (c *Client) forwardRemote(ctx context.Context, spec forward.Spec, cfg forward.Config) (*remoteForwarding, error) {
	f := &remoteForwarding{Remote: forward.NewRemote(spec, cfg), c: c}
	f.r = &remote{path: spec.ListenPath, serve: func(in *incoming) { f.Serve(in) }}
	if f.r.path == "" {
		f.r.host, f.r.port = spec.RequestAddr(), spec.Port
	}
	port, err := c.listenRemote(ctx, f.r)
	if err != nil {
		f.Listening("", err)
		f.Remote.Close()
		return nil, err
	}
	if f.addr = net.Addr(&net.UnixAddr{Name: f.r.path, Net: "unix"}); f.r.path == "" {
		f.addr = listenAddr(f.r.host, port)
	}
	f.Listening(f.addr.String(), nil)
	return f, nil
}

// Close implements io.Closer.
func (f *remoteForwarding) Close() error {
	f.c.unlisten(f.r)
	return f.Remote.Close()
}

// Addr returns the address that is listened on, with the port that was chosen.
// Of a Remote one it is what the server was asked for: "localhost" is 127.0.0.1,
// all interfaces are "::".
func (f *Forwarding) Addr() net.Addr {
	if f.remote != nil {
		return f.remote.addr
	}
	return f.local.Addr()
}

// Skipped returns why addresses that were asked for are not listened on while
// others are.
func (f *Forwarding) Skipped() []error {
	if f.remote != nil {
		return nil
	}
	return f.local.Skipped()
}

// Conns returns how many connections are being served.
func (f *Forwarding) Conns() int {
	if f.remote != nil {
		return f.remote.Conns()
	}
	return f.local.Conns()
}

// StopListening takes no further connections, and leaves those that there are
// alone.
func (f *Forwarding) StopListening() error {
	if f.remote != nil {
		f.remote.c.unlisten(f.remote.r)
		return nil
	}
	return f.local.StopListening()
}

// Close stops listening, ends its connections and waits for them. It does not
// wait for the server to have stopped listening, which it does before it heeds
// anything that is sent later.
func (f *Forwarding) Close() error {
	if f.remote != nil {
		return f.remote.Close()
	}
	return f.local.Close()
}
