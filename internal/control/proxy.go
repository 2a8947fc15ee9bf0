//go:build unix

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"strconv"
	"sync"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/proxied"
	"github.com/adit-ssh/adit/internal/wire"
)

// proxy is a client that speaks the connection protocol itself (MUX_C_PROXY). Its
// channels are ended here, and others opened to the server for them: so nothing that
// the client gets wrong reaches the server, or another client.
//
//	client ── mux (server's half) ── proxy.relay ── the shared connection ── server
//
// Goroutines: those of its mux; six for each pair of channels, ended by their end;
// one for each listener at the server. run waits for all.
type proxy struct {
	c        *client
	m        *mux.Mux
	lifetime context.Context // ends with run
	wg       sync.WaitGroup

	mu        sync.Mutex
	listeners map[string]net.Listener // guarded by mu: by the request's data and kind
	closed    bool                    // guarded by mu
}

// maxListeners is how many listeners one proxy client may have at the server.
const maxListeners = 256

// newProxy answers MUX_C_PROXY and serves the client until it goes.
func (c *client) newProxy(id uint32) error {
	switch {
	case c.hasPassenger():
		return c.fail(id, "Multiple sessions not supported")
	case !c.m.confirmed(fmt.Sprintf("Allow shared connection to %s? ", c.m.cfg.Host)): // OpenSSH does not ask here
		return c.deny(id)
	}
	if err := c.conn.send(message{Kind: kindProxyOpened, ID: id}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.m.lifetime)
	p := &proxy{c: c, lifetime: ctx, listeners: map[string]net.Listener{}}
	p.m = mux.Prepare(proxied.New(c.conn.c), mux.Config{Open: p.open, Global: p.global})
	p.m.Start()
	<-p.m.Done()
	if err := p.m.Err(); !errors.Is(err, io.EOF) && !hungUp(err) {
		c.m.notice("multiplex client: %v", err)
	}
	cancel()
	p.mu.Lock()
	p.closed = true
	for _, l := range p.listeners {
		l.Close()
	}
	p.mu.Unlock()
	p.m.Close()
	p.wg.Wait()
	return net.ErrClosed
}

// open answers the client's opens with what the server says to ours.
func (p *proxy) open(in *mux.Pending) {
	o := adit.Options{Requests: true, Stderr: true}
	up, err := p.c.m.cfg.Client.OpenChannel(p.lifetime, in.Type(), in.Data(), o)
	if refused, ok := err.(*mux.OpenError); ok {
		in.Reject(refused.OpenFailure())
		return
	}
	if err != nil {
		in.Reject(wire.OpenConnectFailed, "the shared connection has ended")
		return
	}
	down, err := in.Accept(o)
	if err != nil {
		up.Close()
		return
	}
	p.relay(down, up)
}

// relay passes all on between a channel of the client's and one of the server's,
// until both have ended.
func (p *proxy) relay(down, up *mux.Channel) {
	started := make(chan struct{})
	if up.Type() != wire.ChannelSession {
		close(started)
	}
	upEnded, downEnded := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		p.pass(up, down, started, upEnded)
		close(downEnded)
	})
	p.pass(down, up, nil, downEnded)
	close(upEnded)
	wg.Wait()
}

// pass passes on what from gets until it has ended. Data waits for started, if that
// is not nil, which is closed when a program was asked for: sshd drops what comes
// before (OpenSSH, channels.c, channel_input_data). When to has ended, so does from.
func (p *proxy) pass(to, from *mux.Channel, started chan struct{}, toEnded <-chan struct{}) {
	wait := func() {
		if started != nil {
			select {
			case <-started:
			case <-from.Closed():
			case <-toEnded:
			}
		}
	}
	var data, requests sync.WaitGroup
	data.Go(func() {
		wait()
		from.WriteTo(to)
	})
	data.Go(func() {
		wait()
		io.Copy(to.Stderr(), from.Stderr())
	})
	requests.Go(func() { p.requests(to, from, started, toEnded) })
	data.Wait()
	to.CloseWrite()
	requests.Wait()
}

// maxAnswers is how many requests of one channel are passed on before the first is
// answered.
const maxAnswers = 64

// requests passes from's requests on, and their answers back in the same order.
// When to has ended it closes from, behind the last answer.
func (p *proxy) requests(to, from *mux.Channel, started chan struct{}, toEnded <-chan struct{}) {
	type question struct {
		r  *mux.Request
		ok <-chan bool // nil, or closed, if no answer comes
	}
	asked := make(chan question, maxAnswers)
	var answers sync.WaitGroup
	answers.Go(func() {
		for q := range asked {
			if q.ok == nil {
				q.r.Reply(false)
				continue
			}
			select {
			case ok := <-q.ok:
				q.r.Reply(ok)
			case <-from.Closed():
			case <-p.lifetime.Done():
			}
		}
	})
	for r := range p.received(from, toEnded) {
		if !r.WantReply {
			to.SendRequest(p.lifetime, r.Type, false, r.Data)
		} else {
			ok, _ := to.Ask(r.Type, r.Data)
			asked <- question{r, ok}
		}
		switch r.Type {
		case wire.RequestShell, wire.RequestExec, wire.RequestSubsystem:
			if started != nil && !isClosed(started) {
				close(started)
			}
		}
	}
	close(asked)
	answers.Wait()
	if isClosed(toEnded) || p.lifetime.Err() != nil {
		from.Close() // of one that has ended by itself there may be data on its way
	}
}

// received yields c's requests until c, the other channel or the client has ended.
// Not all channels have requests.
func (p *proxy) received(c *mux.Channel, otherEnded <-chan struct{}) iter.Seq[*mux.Request] {
	return func(yield func(*mux.Request) bool) {
		for {
			var r *mux.Request
			select {
			case r = <-c.Requests():
			case <-c.Closed():
				select { // what came before the end is passed on, too
				case r = <-c.Requests():
				default:
				}
			case <-otherEnded:
			case <-p.lifetime.Done():
			}
			if r == nil || !yield(r) {
				return
			}
		}
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// global answers the client's global requests. Only forwards are passed on: others,
// such as no-more-sessions@openssh.com, would be for all who share the connection.
func (p *proxy) global(name string, data []byte) (ok bool, reply []byte) {
	network, key := "tcp", "tcp "+string(data)
	switch name {
	case wire.GlobalStreamlocalForward, wire.GlobalCancelStreamlocalForward:
		network, key = "unix", "unix "+string(data)
	case wire.GlobalTCPIPForward, wire.GlobalCancelTCPIPForward:
	default:
		return false, nil
	}
	if name == wire.GlobalCancelTCPIPForward || name == wire.GlobalCancelStreamlocalForward {
		return p.unlisten(key), nil
	}
	l, err := p.listen(network, data)
	if err != nil {
		p.c.m.notice("remote forward for a multiplex client: %v", err)
		return false, nil
	}
	return l.answer()
}

// listening is a listener at the server for a proxy client.
type listening struct {
	net.Listener
	addr, path string // as the client has asked for it
	port       uint32
	chosen     bool // by the server
}

func (l *listening) answer() (ok bool, reply []byte) {
	if l.chosen {
		reply = (&wire.TCPIPForwardReply{Port: l.port}).Append(nil)
	}
	return true, reply
}

// listen has the server listen, and passes on who connects.
func (p *proxy) listen(network string, data []byte) (*listening, error) {
	l := new(listening)
	var tcp wire.TCPIPForward
	var local wire.StreamlocalForward
	var address, key string
	if network == "tcp" {
		if err := wire.ParseBody(data, &tcp); err != nil {
			return nil, err
		}
		if tcp.Port > 65535 {
			return nil, fmt.Errorf("%d is no port", tcp.Port)
		}
		l.addr, l.port = tcp.Addr, tcp.Port
		address = net.JoinHostPort(tcp.Addr, strconv.FormatUint(uint64(tcp.Port), 10))
	} else {
		if err := wire.ParseBody(data, &local); err != nil {
			return nil, err
		}
		l.path, address = local.Path, local.Path
	}
	if p.listenerCount() >= maxListeners {
		return nil, fmt.Errorf("one client may have %d listeners", maxListeners)
	}
	var err error
	if l.Listener, err = p.c.m.cfg.Client.Listen(p.lifetime, network, address); err != nil {
		return nil, err
	}
	if key = network + " " + string(data); network == "tcp" && tcp.Port == 0 {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		n, _ := strconv.ParseUint(port, 10, 16)
		l.chosen, l.port, tcp.Port = true, uint32(n), uint32(n)
		key = network + " " + string(tcp.Append(nil))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		l.Close()
		return nil, net.ErrClosed
	}
	p.listeners[key] = l
	p.wg.Go(func() { p.accept(l) })
	return l, nil
}

func (p *proxy) listenerCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.listeners)
}

func (p *proxy) unlisten(key string) bool {
	p.mu.Lock()
	l := p.listeners[key]
	delete(p.listeners, key)
	p.mu.Unlock()
	return l != nil && l.Close() == nil
}

// accept opens a channel to the client for each connection to l.
func (p *proxy) accept(l *listening) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		up := c.(*mux.Channel)
		p.wg.Go(func() { p.offer(l, up) })
	}
}

func (p *proxy) offer(l *listening, up *mux.Channel) {
	name, data := wire.ChannelForwardedStreamlocal, (&wire.ForwardedStreamlocal{Path: l.path}).Append(nil)
	if l.path == "" {
		d := wire.ForwardedTCPIP{Addr: l.addr, Port: l.port}
		if host, port, err := net.SplitHostPort(up.RemoteAddr().String()); err == nil {
			n, _ := strconv.ParseUint(port, 10, 16)
			d.OriginatorAddr, d.OriginatorPort = host, uint32(n)
		}
		name, data = wire.ChannelForwardedTCPIP, d.Append(nil)
	}
	down, err := p.m.Open(p.lifetime, name, data, adit.Options{})
	if err != nil {
		up.Close()
		return
	}
	p.relay(down, up)
}
