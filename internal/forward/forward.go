package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/socks"
	"github.com/adit-ssh/adit/trace"
)

// Opener opens a direct-tcpip channel.
type Opener func(ctx context.Context, host string, port uint16, originator netip.AddrPort) (relay.Conn, error)

// Limits.
const (
	// maxConns is how many connections one Forwarder serves at once; more wait
	// in the listener's backlog.
	maxConns = 16384
	// acceptPause is how long accepting rests after an error such as too many
	// open files.
	acceptPause = 50 * time.Millisecond
)

// Forwarder listens for one Spec and forwards what comes.
//
// Goroutines: one for each listener, two for each connection. Close ends and
// waits for all of them.
type Forwarder struct {
	spec      Spec
	open      Opener
	tracer    trace.Tracer
	listeners []net.Listener
	lifetime  context.Context
	cancel    context.CancelFunc
	slots     chan struct{}
	wg        sync.WaitGroup
}

// Listen listens as spec says and forwards until Close. With gateway an empty
// bind address means all interfaces instead of loopback.
func Listen(ctx context.Context, spec Spec, open Opener, gateway bool, tracer trace.Tracer) (*Forwarder, error) {
	f := &Forwarder{spec: spec, open: open, tracer: tracer, slots: make(chan struct{}, maxConns)}
	f.lifetime, f.cancel = context.WithCancel(context.Background())
	if err := f.listen(ctx, gateway); err != nil {
		f.Close()
		return nil, err
	}
	for _, l := range f.listeners {
		trace.Emit(tracer, trace.Forward{What: "listen", Spec: spec.String(), Local: l.Addr().String()})
		f.wg.Go(func() { f.accept(l) })
	}
	return f, nil
}

// listen binds. Loopback is 127.0.0.1 and, where there is one, ::1, on the same
// port.
func (f *Forwarder) listen(ctx context.Context, gateway bool) error {
	hosts := []string{f.spec.Bind}
	optional := false
	switch f.spec.Bind {
	case "", "localhost":
		hosts, optional = []string{"127.0.0.1", "::1"}, true
		if gateway && f.spec.Bind == "" {
			hosts = []string{""}
		}
	case "*":
		hosts = []string{""}
	}
	port := f.spec.Port
	var lc net.ListenConfig
	for i, host := range hosts {
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err != nil {
			if i > 0 && optional {
				continue // no IPv6, or the port is taken there
			}
			return fmt.Errorf("forward %s: %w", f.spec, err)
		}
		f.listeners = append(f.listeners, l)
		port = uint16(l.Addr().(*net.TCPAddr).Port)
	}
	return nil
}

// Addr returns the address of the first listener.
func (f *Forwarder) Addr() net.Addr { return f.listeners[0].Addr() }

// Close stops listening, ends the connections and waits for all goroutines.
func (f *Forwarder) Close() error {
	f.cancel()
	for _, l := range f.listeners {
		l.Close()
	}
	f.wg.Wait()
	return nil
}

func (f *Forwarder) accept(l net.Listener) {
	for {
		select {
		case f.slots <- struct{}{}:
		case <-f.lifetime.Done():
			return
		}
		c, err := l.Accept()
		if err == nil {
			f.wg.Go(func() {
				defer func() { <-f.slots }()
				f.serve(c.(*net.TCPConn))
			})
			continue
		}
		<-f.slots
		if errors.Is(err, net.ErrClosed) {
			return
		}
		trace.Emit(f.tracer, trace.Forward{What: "accept", Spec: f.spec.String(), Err: err.Error()})
		pause := time.NewTimer(acceptPause)
		select {
		case <-pause.C:
		case <-f.lifetime.Done():
			pause.Stop()
		}
	}
}

// serve forwards one connection.
func (f *Forwarder) serve(c *net.TCPConn) {
	defer c.Close()
	e := trace.Forward{Spec: f.spec.String(), Local: c.LocalAddr().String(), Originator: c.RemoteAddr().String()}
	host, port := f.spec.Host, f.spec.HostPort
	var req *socks.Request
	if f.spec.Dynamic {
		var err error
		if req, err = socks.Accept(f.lifetime, c); err != nil {
			e.What, e.Err = "refused", err.Error()
			trace.Emit(f.tracer, e)
			return
		}
		host, port = req.Host, req.Port
	}
	e.Target = net.JoinHostPort(host, strconv.Itoa(int(port)))
	remote, err := f.open(f.lifetime, host, port, originator(c))
	if err != nil {
		e.What, e.Err = "refused", err.Error()
		trace.Emit(f.tracer, e)
		if req != nil {
			o := relay.OutcomeOf(err)
			req.Refuse(socks.Refusal{Reply: socks.Reply(o.SOCKS()), Status: o.HTTP(), Text: o.String()})
		}
		return
	}
	var head []byte
	if req != nil {
		if err := req.Grant(netip.AddrPort{}); err != nil {
			remote.Close()
			return
		}
		head = req.Rest()
	}
	e.What = "open"
	trace.Emit(f.tracer, e)
	res := relay.Pipe(f.lifetime, c, remote, head)
	e.What, e.In, e.Out = "done", res.In, res.Out
	if res.Err != nil {
		e.Err = res.Err.Error()
	}
	trace.Emit(f.tracer, e)
}

func originator(c net.Conn) netip.AddrPort {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
