package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/socks"
	"github.com/adit-ssh/adit/trace"
)

// Incoming is a connection to what the server listens on for us: a
// forwarded-tcpip or forwarded-streamlocal open (RFC 4254, section 7.2; OpenSSH
// PROTOCOL, section 2.4) that waits for its answer. It is answered once.
type Incoming interface {
	// Accept confirms the channel.
	Accept() (relay.Conn, error)
	// Reject refuses it with a reason of RFC 4254, section 5.1.
	Reject(reason uint32, text string) error
	// Originator is who has connected, in the server's words.
	Originator() string
	// Context ends with the SSH connection.
	Context() context.Context
}

// Remote serves the connections of one remote forward.
//
// Goroutines: whoever calls Serve, until the connection's channel is open; then
// two for each connection, ended by the connection or by Close, which waits for
// all of them.
type Remote struct {
	// Immutable.
	spec     Spec
	cfg      Config
	lifetime context.Context
	cancel   context.CancelFunc

	wg sync.WaitGroup
	mu sync.Mutex
	// Guarded by mu.
	conns  int
	closed bool
}

// NewRemote returns a Remote for connections to what spec has the server listen
// on. The caller has the server do that, and stop it after Close.
func NewRemote(spec Spec, cfg Config) *Remote {
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = DefaultMaxConns
	}
	r := &Remote{spec: spec, cfg: cfg}
	r.lifetime, r.cancel = context.WithCancel(context.Background())
	return r
}

// Listening reports the server's answer to a tracer: that it listens on address,
// or why not.
func (r *Remote) Listening(address string, err error) {
	e := trace.Forward{What: "listen", Local: address}
	if err != nil {
		e.Err = err.Error()
	}
	r.emit(e)
}

// Conns returns how many connections are being served.
func (r *Remote) Conns() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns
}

// Close ends the connections, each with a reset if it is not at its end, and
// waits for all goroutines. What comes later is refused.
func (r *Remote) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	return nil
}

// Serve connects to the target, answers in, and has the connection relayed. The
// channel is confirmed only when the target is reached, so that who connected at
// the server learns whether it is. It returns when the answer is given, or for a
// proxy when its client was answered.
func (r *Remote) Serve(in Incoming) {
	if !r.enter() {
		in.Reject(relay.Shortage.OpenFailure())
		return
	}
	relayed := false
	defer func() {
		if !relayed {
			r.leave()
		}
	}()
	ctx, cancel := context.WithCancel(in.Context())
	defer cancel()
	stop := context.AfterFunc(r.lifetime, cancel)
	defer stop()

	e := trace.Forward{Originator: in.Originator()}
	if r.spec.Dynamic {
		relayed = r.proxy(ctx, e, in)
	} else {
		relayed = r.direct(ctx, e, in)
	}
}

// enter counts a connection in, unless there are too many or Close was called.
func (r *Remote) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.conns >= r.cfg.MaxConns {
		return false
	}
	r.conns++
	r.wg.Add(1)
	return true
}

func (r *Remote) leave() {
	r.mu.Lock()
	r.conns--
	r.mu.Unlock()
	r.wg.Done()
}

// direct serves a connection to the spec's target.
func (r *Remote) direct(ctx context.Context, e trace.Forward, in Incoming) bool {
	e.Target = r.spec.address()
	e.What = "accept"
	r.emit(e)
	local, err := r.dial(ctx, r.spec)
	if err != nil {
		r.unreachable(ctx, e, err)
		in.Reject(relay.OutcomeOf(err).OpenFailure())
		return false
	}
	ch, err := in.Accept()
	if err != nil {
		relay.Reset(local)
		r.refused(e, err)
		return false
	}
	r.relay(e, local, ch)
	return true
}

// proxy serves a client of SOCKS or HTTP CONNECT. Its channel is confirmed first
// since the target stands in what it sends.
func (r *Remote) proxy(ctx context.Context, e trace.Forward, in Incoming) bool {
	ch, err := in.Accept()
	if err != nil {
		r.refused(e, err)
		return false
	}
	req, err := socks.Accept(ctx, ch)
	if err != nil {
		if err != io.EOF { // Somebody who only looks whether the port is open.
			r.refused(e, err)
		}
		ch.Close()
		return false
	}
	to := Spec{Host: req.Host, HostPort: req.Port}
	e.Target = to.address()
	e.What = "accept"
	r.emit(e)
	local, err := r.reach(ctx, to)
	if err != nil {
		r.unreachable(ctx, e, err)
		o := relay.OutcomeOf(err)
		req.Refuse(socks.Refusal{Reply: socks.Reply(o.SOCKS()), Status: o.HTTP(), Text: o.String()})
		ch.CloseWrite()
		ch.Close()
		return false
	}
	err = req.Grant(netip.AddrPort{})
	if err == nil && len(req.Rest()) > 0 {
		_, err = local.Write(req.Rest()) // less than 32 KiB: a new connection takes it
	}
	if err != nil {
		r.refused(e, errors.Join(err, relay.Reset(local), ch.Close()))
		return false
	}
	r.relay(e, local, ch)
	return true
}

// notPermitted is a target that PermitRemoteOpen does not have.
type notPermitted struct{ target string }

func (e notPermitted) Error() string { return e.target + " is not among PermitRemoteOpen" }

// OpenFailure makes it relay.Prohibited.
func (e notPermitted) OpenFailure() (uint32, string) {
	return wire.OpenAdministrativelyProhibited, "not permitted"
}

// reach dials what a proxy's client wants, if it may.
func (r *Remote) reach(ctx context.Context, to Spec) (relay.Conn, error) {
	if !r.cfg.Permit.Allows(to.Host, to.HostPort) {
		return nil, notPermitted{to.address()}
	}
	return r.dial(ctx, to)
}

// dial connects to a target on our side.
func (r *Remote) dial(ctx context.Context, to Spec) (relay.Conn, error) {
	if to.TargetPath != "" {
		return dialPath(ctx, to.TargetPath)
	}
	network := r.cfg.Network
	if network == "" {
		network = "tcp"
	}
	c, err := dialer().DialContext(ctx, network, net.JoinHostPort(to.Host, strconv.Itoa(int(to.HostPort))))
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// relay copies until both directions have ended, on a goroutine whose stack has
// not grown with the dialling.
func (r *Remote) relay(e trace.Forward, local, ch relay.Conn) {
	e.What = "open"
	r.emit(e)
	go func() { // Close waits for it: leave
		defer r.leave()
		res := relay.Pipe(r.lifetime, local, ch, nil)
		e.What, e.In, e.Out = "done", res.In, res.Out
		if res.Err != nil {
			e.Err = res.Err.Error()
		}
		r.emit(e)
	}()
}

// unreachable tells of a target that can't be connected to, unless nobody waits.
func (r *Remote) unreachable(ctx context.Context, e trace.Forward, err error) {
	r.refused(e, err)
	if r.cfg.Unreachable != nil && ctx.Err() == nil {
		r.cfg.Unreachable(e.Target, err)
	}
}

func (r *Remote) refused(e trace.Forward, err error) {
	e.What, e.Err = "refused", err.Error()
	r.emit(e)
}

func (r *Remote) emit(e trace.Forward) {
	if trace.Wants(r.cfg.Tracer, trace.LevelConn) {
		e.Spec = "-R " + r.spec.String()
		trace.Emit(r.cfg.Tracer, e)
	}
}
