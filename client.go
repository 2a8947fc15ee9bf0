package adit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/userauth"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// Client is a connection to an SSH server, logged in.
//
// Goroutines: the transport's flusher, the mux's reader and handlers, the
// keepalive loop with Config.AliveInterval, which has one more for a question that
// waits, and Config.ServerKeys with a watcher of its context. Close waits for them.
type Client struct {
	t     secured
	m     *mux.Mux
	cfg   *Config
	user  string
	ahead ahead
	life  *life // for the tracer

	agent         atomic.Pointer[agent.Forwarder] // what the server may use; nil while it was not asked to
	unverified    bool                            // immutable
	announcedOnce bool                            // owned by the mux's goroutine for global requests
	following     atomic.Pointer[chan struct{}]   // closed when Config.ServerKeys has returned; nil before it is called

	remotes remotes

	wg sync.WaitGroup
}

// againAfter is what a server gets to count the first connection out, where Dial
// makes two: sshd may let no more in (MaxStartups, PerSourceMaxStartups).
const againAfter = 50 * time.Millisecond

// Dial connects to an SSH server and logs in. target is [user@]host[:port]; the
// port is 22 by default. ctx bounds Dial only. Errors are wrapped in a
// *StageError.
func Dial(ctx context.Context, target string, cfg *Config) (*Client, error) {
	user, address := splitTarget(target)
	if user == "" {
		user = cfg.User
	}
	limited, watch := startWatch(ctx, cfg.ConnectTimeout)
	defer watch.end()
	c, err := dialOnce(ctx, limited, watch, user, address, cfg)
	if !errors.Is(err, ErrExpect) {
		return c, err
	}
	if cfg.Unexpected != nil {
		cfg.Unexpected()
	}
	select {
	case <-time.After(againAfter):
	case <-limited.Done(): // which dialling tells
	}
	again := *cfg
	again.Expect = Preference{}
	return dialOnce(ctx, limited, watch, user, address, &again)
}

// dialOnce is Dial, but for the server that has changed its mind.
func dialOnce(ctx, limited context.Context, watch *stopwatch, user, address string, cfg *Config) (*Client, error) {
	connect := cfg.Dial
	if connect == nil {
		connect = dial.TCP{}.Dial
	}
	cfg, life := begin(cfg, user+"@"+address)
	nc, err := connect(trace.NewContext(limited, cfg.Tracer), address)
	if err != nil {
		err = &StageError{"dial", address, err}
		life.end(err)
		return nil, err
	}
	life.up(nc)
	return newClient(ctx, limited, watch, nc, address, user, cfg, life)
}

// splitTarget takes [user@]host[:port] apart and adds the default port.
func splitTarget(target string) (user, address string) {
	if i := strings.LastIndexByte(target, '@'); i >= 0 {
		user, target = target[:i], target[i+1:]
	}
	if _, _, err := net.SplitHostPort(target); err == nil {
		return user, target
	}
	return user, net.JoinHostPort(strings.Trim(target, "[]"), "22")
}

// NewClient makes a Client of a connection that exists already. address is what
// CheckHostKey is asked about. It owns nc, also when it fails. ConnectTimeout
// bounds the handshake.
func NewClient(ctx context.Context, nc net.Conn, address, user string, cfg *Config) (*Client, error) {
	cfg, life := begin(cfg, user+"@"+address)
	life.up(nc)
	limited, watch := startWatch(ctx, cfg.ConnectTimeout)
	defer watch.end()
	return newClient(ctx, limited, watch, nc, address, user, cfg, life)
}

// newClient shakes hands within limited, which watch ends when that is done, and
// logs in within ctx.
func newClient(ctx, limited context.Context, watch *stopwatch, nc net.Conn, address, user string, cfg *Config, life *life) (_ *Client, err error) {
	defer func() {
		if err != nil {
			life.end(err)
		}
	}()
	switch {
	case cfg.CheckHostKey == nil:
		nc.Close()
		return nil, errors.New("adit: Config.CheckHostKey is required")
	case user == "":
		nc.Close()
		return nil, errors.New("adit: a user name is required, in the target or in Config.User")
	}
	tc := cfg.transport(address, watch.unhurried(cfg.CheckHostKey))
	if tc.Version, err = cfg.versionLine(); err != nil {
		nc.Close()
		return nil, err
	}
	unverified := tolerate(tc)
	t, err := transport.Client(limited, nc, tc)
	if err != nil {
		return nil, handshakeError(address, err)
	}
	watch.end()
	c := &Client{t: t, cfg: cfg, user: user, life: life, ahead: ahead{target: cfg.Ahead}, unverified: *unverified}
	_, peer := t.Versions()
	quirks := transport.QuirksOf(peer)
	c.m = mux.Prepare(t, mux.Config{Tracer: cfg.Tracer, Open: c.opened, Global: c.global(), PeerPaces: quirks.Paces, IdleTimeout: cfg.ChannelTimeout})
	auth := userauth.ClientConfig{
		User: user, Methods: cfg.Methods, Keys: c.keys(), Algorithms: cfg.KeyAlgorithms, Unbound: cfg.Unbound, Password: cfg.Password,
		NewPassword: cfg.NewPassword, Answer: cfg.Answer, Tries: cfg.Tries, Banner: cfg.Banner, Tracer: cfg.Tracer,
	}
	if c.unverified { // who listens in must not learn a secret
		auth.Password, auth.NewPassword, auth.Answer = nil, nil, nil
	}
	if cfg.Ahead != "" {
		if err := c.ahead.begin(c.m); err != nil {
			t.Close()
			return nil, fmt.Errorf("adit: Config.Ahead %q: %w", cfg.Ahead, err)
		}
		// What is sent on the way of the login's success must not be compressed, and
		// must be for a server that has sent it.
		if quirks.BearsEarlyOpen && t.Algorithms().Client.Compression == "none" {
			auth.Behind = func() { t.WritePacket(c.ahead.op.Message, ctx.Done()) }
		}
	}
	stop := context.AfterFunc(ctx, func() { t.Close() })
	resume := watch.pause() // of a target behind us; ours has ended
	login, err := userauth.Client(ctx, t, auth)
	resume()
	if !stop() && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		t.Close()
		return nil, &StageError{"login", user + "@" + address, err}
	}
	c.m.Start()
	if c.ahead.op != nil && !login.Behind {
		if err := c.ahead.op.Send(ctx); err != nil {
			c.Close()
			return nil, &StageError{"login", user + "@" + address, err}
		}
	}
	if cfg.AliveInterval > 0 {
		c.wg.Go(func() { c.keepAlive(address) })
	}
	return c, nil
}

// handshakeError is a handshake that failed. Where the way to the server ended
// before it had carried a byte, such as a proxy command that finds no proxy, that
// is all there is to say.
func handshakeError(address string, err error) error {
	v, none := errors.AsType[*VersionError](err)
	way, told := errors.AsType[*dial.Error](err)
	if none && told && v.Greeting == transport.GreetingClosed {
		return &StageError{"dial", address, way}
	}
	return &StageError{"handshake", address, err}
}

// refuse answers an open by the server that we did not ask for.
func refuse(p *mux.Pending) {
	p.Reject(wire.OpenAdministrativelyProhibited, "nobody asked for such channels")
}

// global answers the server's global requests; nil refuses them all.
func (c *Client) global() func(name string, data []byte) (bool, []byte) {
	if c.cfg.ServerKeys == nil {
		return nil
	}
	return func(name string, data []byte) (bool, []byte) {
		return name == wire.GlobalHostKeys && c.announced(data), nil
	}
}

// hostPort takes an address apart; the port may be a service's name.
func hostPort(network, address string) (host string, port uint16, err error) {
	host, name, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := net.LookupPort(network, name)
	return host, uint16(n), err
}

// DialContext connects to an address as the server reaches it. network is
// "tcp", "tcp4" or "tcp6" with host:port, the host being looked up by the
// server, or "unix" with a path. ctx bounds the opening only. A refusal is an
// *OpenError. The connection has deadlines and CloseWrite.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		host, port, err := hostPort(network, address)
		if err != nil {
			return nil, err
		}
		return c.OpenDirect(ctx, host, port, netip.AddrPort{})
	case "unix":
		return c.openPath(ctx, address)
	}
	return nil, fmt.Errorf("dial %s through %s: unknown network %q", address, c.t.RemoteAddr(), network)
}

// openPath opens a direct-streamlocal channel (OpenSSH PROTOCOL, section 2.4).
func (c *Client) openPath(ctx context.Context, path string) (*Conn, error) {
	ch, err := c.m.Open(ctx, wire.ChannelDirectStreamlocal, (&wire.DirectStreamlocal{Path: path}).Append(nil), mux.Options{})
	if err != nil {
		return nil, err
	}
	ch.SetAddrs(c.t.LocalAddr(), &net.UnixAddr{Name: path, Net: "unix"})
	return ch, nil
}

// OpenDirect opens a direct-tcpip channel (RFC 4254, section 7.2). originator is
// where the connection comes from; the zero value names our own end.
func (c *Client) OpenDirect(ctx context.Context, host string, port uint16, originator netip.AddrPort) (*Conn, error) {
	if !originator.IsValid() {
		originator = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	ch, err := c.direct(ctx, host, port, originator)
	if err != nil {
		return nil, err
	}
	ch.SetAddrs(net.TCPAddrFromAddrPort(originator), hostAddr(net.JoinHostPort(host, strconv.Itoa(int(port)))))
	return ch, nil
}

// Conn is a channel as a net.Conn with CloseWrite, ReadFrom and WriteTo.
type Conn = mux.Channel

// hostAddr is an address by name.
type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (a hostAddr) String() string { return string(a) }

// Options say what a channel is prepared to receive besides data.
type Options = mux.Options

// OpenChannel opens a channel of any type; data is the type's own.
func (c *Client) OpenChannel(ctx context.Context, typ string, data []byte, o Options) (*Conn, error) {
	return c.m.Open(ctx, typ, data, o)
}

// SendRequest sends a global request and, with wantReply, waits for the answer.
func (c *Client) SendRequest(ctx context.Context, name string, wantReply bool, data []byte) (ok bool, reply []byte, err error) {
	return c.m.Request(ctx, name, wantReply, data)
}

// Rekey starts a key exchange. It does not wait for it.
func (c *Client) Rekey() { c.t.Rekey() }

// Prefers returns what to put into Config.Expect for the next connection to this
// server; false if nothing can be sent ahead of its answers.
func (c *Client) Prefers() (Preference, bool) { return c.t.Prefers() }

// User returns the name that we are logged in as.
func (c *Client) User() string { return c.user }

// RemoteAddr returns the server's address.
func (c *Client) RemoteAddr() net.Addr { return c.t.RemoteAddr() }

// Versions returns the version lines of both sides.
func (c *Client) Versions() (local, server string) { return c.t.Versions() }

// Channels returns how many channels are open or opening, of whatever kind.
func (c *Client) Channels() int { return c.m.Channels() }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.m.Done() }

// Err says why the connection ended; nil while it lives.
func (c *Client) Err() error { return c.m.Err() }

// Close ends the connection in good order and waits for its goroutines. It gives
// Config.ServerKeys five seconds to end by itself.
func (c *Client) Close() error {
	c.awaitServerKeys()
	why := c.m.Err()
	err := c.m.Close()
	c.wg.Wait()
	c.life.end(why)
	return err
}
