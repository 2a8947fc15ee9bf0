// Package forward is forwarding: -L, -D, -R and -W as OpenSSH's client has them,
// for TCP and unix sockets, on top of anything that opens and receives channels.
//
// For a local forward nothing is sent to the server until somebody connects.
// Each connection is one channel (RFC 4254, section 7.2; OpenSSH PROTOCOL,
// section 2.4), with the true originator; names are looked up by the side that
// connects. ParseLocal, ParseDynamic, ParseRemote and ParseStdio read the command
// line's forms. Listen binds and serves a Spec, Serve serves listeners that exist
// already, NewRemote serves what comes back from the server's listeners, Stdio
// forwards one reader and writer.
package forward

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/trace"
)

// Conn is what an Opener opens: a net.Conn with CloseWrite.
type Conn = relay.Conn

// Opener opens a direct-tcpip channel.
type Opener func(ctx context.Context, host string, port uint16, originator netip.AddrPort) (Conn, error)

// PathOpener opens a direct-streamlocal channel.
type PathOpener func(ctx context.Context, path string) (Conn, error)

// DefaultMaxConns is how many connections one Forwarder serves at once unless
// Config.MaxConns says otherwise.
const DefaultMaxConns = 16384

// Config says how to forward. Open is required but for remote forwards; the rest
// may be zero.
type Config struct {
	Open Opener
	// OpenPath is Open for specs with a unix socket as target; nil refuses them.
	OpenPath PathOpener
	// Tracer receives trace.Forward events. May be nil.
	Tracer trace.Tracer
	// Refused is told of targets that the server does not connect to, Unreachable of
	// those that we are to connect to for the server, and can't. Both are called from
	// several goroutines, and may be nil.
	Refused, Unreachable func(target string, err error)
	// GatewayPorts makes a Spec without a bind address listen on all interfaces
	// instead of loopback.
	GatewayPorts bool
	// Network is "tcp4" or "tcp6" to listen on, and with remote forwards to
	// connect to, such addresses only (AddressFamily); "" and "tcp" are both.
	Network string
	// SocketMode are the permissions of unix sockets to listen on; 0 means
	// DefaultSocketMode. Other bits than those of permissions do not matter, so
	// that fs.ModeSocket is a way to say that there are none.
	SocketMode fs.FileMode
	// ReplaceSocket removes a socket that lies at a path to listen on
	// (StreamLocalBindUnlink).
	ReplaceSocket bool
	// Permit limits the targets of remote forwards that are proxies
	// (PermitRemoteOpen).
	Permit Permit
	// MaxConns is how many connections are served at once; more wait. 0 means
	// DefaultMaxConns.
	MaxConns int
}

// Accepting rests after an error such as too many open files, for longer while
// errors follow each other.
const (
	firstPause = 5 * time.Millisecond
	longPause  = time.Second
)

// Forwarder forwards the connections of its listeners.
//
// Goroutines: one for each listener, ended by StopListening; one for each
// connection until its channel is open, and two while it is relayed, ended by
// the connection or by Close. Close waits for all of them.
type Forwarder struct {
	// Immutable.
	spec      Spec
	cfg       Config
	listeners []net.Listener
	skipped   []error
	lifetime  context.Context
	cancel    context.CancelFunc
	slots     chan struct{} // holds one for each connection

	wg sync.WaitGroup
}

// Listen listens as spec says and forwards until Close. ctx bounds the looking
// up of the bind address only. It succeeds when at least one address could be
// listened on, as OpenSSH does; Skipped tells of the others. An error is a
// *ListenError if it is about an address.
func Listen(ctx context.Context, spec Spec, cfg Config) (*Forwarder, error) {
	listeners, skipped, err := listen(ctx, spec, cfg)
	if err != nil {
		return nil, err
	}
	return serve(spec, cfg, listeners, skipped), nil
}

// Serve forwards what the listeners accept, until Close. It owns them. After
// their Close, Accept must return net.ErrClosed; connections must be
// relay.Conns, as those of TCP and unix listeners are. Of spec only the target
// is used.
func Serve(spec Spec, cfg Config, listeners ...net.Listener) *Forwarder {
	return serve(spec, cfg, listeners, nil)
}

func serve(spec Spec, cfg Config, listeners []net.Listener, skipped []error) *Forwarder {
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = DefaultMaxConns
	}
	f := &Forwarder{spec: spec, cfg: cfg, listeners: listeners, skipped: skipped, slots: make(chan struct{}, cfg.MaxConns)}
	f.lifetime, f.cancel = context.WithCancel(context.Background())
	for _, err := range skipped {
		f.emit(trace.Forward{What: "listen", Err: err.Error()})
	}
	for _, l := range listeners {
		f.emit(trace.Forward{What: "listen", Local: l.Addr().String()})
		f.wg.Go(func() { f.accept(l) })
	}
	return f
}

// Addr returns the address of the first listener.
func (f *Forwarder) Addr() net.Addr { return f.listeners[0].Addr() }

// Addrs returns the addresses of all listeners.
func (f *Forwarder) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, l := range f.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Skipped returns why addresses that the Spec means are not listened on.
func (f *Forwarder) Skipped() []error { return slices.Clone(f.skipped) }

// Conns returns how many connections are being served.
func (f *Forwarder) Conns() int { return len(f.slots) }

// StopListening closes the listeners and leaves connections alone.
func (f *Forwarder) StopListening() error {
	var errs []error
	for _, l := range f.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Wait waits until the listeners are closed and all connections have ended.
func (f *Forwarder) Wait() { f.wg.Wait() }

// Close stops listening, ends the connections, each with a reset if it is not
// at its end, and waits for all goroutines.
func (f *Forwarder) Close() error {
	f.cancel()
	err := f.StopListening()
	f.wg.Wait()
	return err
}

// accept serves l until it is closed. Of the connections that are too many one
// waits here and the rest in the backlog.
func (f *Forwarder) accept(l net.Listener) {
	pause := time.Duration(0)
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			if !f.takeSlot(l) {
				c.Close()
				return
			}
			f.wg.Go(func() { f.forward(c) })
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if pause == 0 { // Once, not for each of a row.
			f.emit(trace.Forward{What: "accept", Local: l.Addr().String(), Err: err.Error()})
		}
		pause = min(max(firstPause, 2*pause), longPause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-f.lifetime.Done():
			timer.Stop()
		}
	}
}

// takeSlot waits for a free slot. It reports false once Close was called.
func (f *Forwarder) takeSlot(l net.Listener) bool {
	select {
	case f.slots <- struct{}{}:
		return true
	default:
	}
	f.emit(trace.Forward{What: "full", Local: l.Addr().String(),
		Err: strconv.Itoa(f.cfg.MaxConns) + " connections are open; more must wait"})
	select {
	case f.slots <- struct{}{}:
		return true
	case <-f.lifetime.Done():
		return false
	}
}

func (f *Forwarder) freeSlot() { <-f.slots }

func (f *Forwarder) emit(e trace.Forward) {
	if trace.Wants(f.cfg.Tracer, trace.LevelConn) {
		e.Spec = f.spec.String()
		trace.Emit(f.cfg.Tracer, e)
	}
}
