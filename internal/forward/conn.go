package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/socks"
	"github.com/adit-ssh/adit/trace"
)

// errPath is what a Config without OpenPath can't do.
var errPath = errors.New("forwarding to unix sockets is not supported")

// forward serves one connection up to the answer to its open, and has it relayed
// from then on. It gives the connection and its slot back unless it is relayed.
func (f *Forwarder) forward(c net.Conn) {
	relayed := false
	defer func() {
		if !relayed {
			c.Close()
			f.freeSlot()
		}
	}()
	local, ok := c.(relay.Conn)
	if !ok {
		f.emit(trace.Forward{What: "refused", Err: "a connection without half-close"})
		return
	}
	e := f.event(c)
	if !f.spec.Dynamic {
		relayed = f.open(e, local, f.spec, nil)
		return
	}
	req, err := socks.Accept(f.lifetime, c)
	if err != nil {
		if err != io.EOF { // Somebody who only looks whether the port is open.
			e.What, e.Err = "refused", err.Error()
			f.emit(e)
		}
		f.linger(local)
		return
	}
	relayed = f.open(e, local, Spec{Host: req.Host, HostPort: req.Port}, req)
}

// open opens a channel to to's target and has it relayed, or reports false. req
// is nil unless a proxy's client waits for an answer.
func (f *Forwarder) open(e trace.Forward, local relay.Conn, to Spec, req *socks.Request) bool {
	e.Target = to.address()
	e.What = "accept"
	f.emit(e)
	remote, err := f.cfg.connect(f.lifetime, to, originator(local))
	if err != nil {
		e.What, e.Err = "refused", err.Error()
		f.emit(e)
		f.cfg.refused(f.lifetime, e.Target, err)
		if req != nil {
			o := relay.OutcomeOf(err)
			req.Refuse(socks.Refusal{Reply: socks.Reply(o.SOCKS()), Status: o.HTTP(), Text: o.String()})
			f.linger(local)
		}
		return false
	}
	var head []byte
	if req != nil {
		if err := req.Grant(netip.AddrPort{}); err != nil {
			e.What, e.Err = "done", errors.Join(err, relay.Reset(remote)).Error()
			f.emit(e)
			return false
		}
		head = req.Rest()
	}
	e.What = "open"
	f.emit(e)
	// On a goroutine whose stack has not grown with the handshake: most
	// connections idle most of the time.
	f.wg.Go(func() {
		defer f.freeSlot()
		f.relay(e, local, remote, head)
	})
	return true
}

// connect opens a channel to to's target.
func (c *Config) connect(ctx context.Context, to Spec, originator netip.AddrPort) (relay.Conn, error) {
	switch {
	case to.TargetPath == "":
		return c.Open(ctx, to.Host, to.HostPort, originator)
	case c.OpenPath == nil:
		return nil, errPath
	}
	return c.OpenPath(ctx, to.TargetPath)
}

// refused tells of a target that can't be connected to, unless we are ending.
func (c *Config) refused(ctx context.Context, target string, err error) {
	if c.Refused != nil && ctx.Err() == nil {
		c.Refused(target, err)
	}
}

// address is the target for events and errors.
func (s Spec) address() string {
	if s.TargetPath != "" {
		return s.TargetPath
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(int(s.HostPort)))
}

// relay copies until both directions have ended.
func (f *Forwarder) relay(e trace.Forward, local, remote relay.Conn, head []byte) {
	res := relay.Pipe(f.lifetime, local, remote, head)
	e.What, e.In, e.Out = "done", res.In, res.Out
	if res.Err != nil {
		e.Err = res.Err.Error()
	}
	f.emit(e)
}

// Limits of linger.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 256 << 10
)

// linger lets an answer that was just written reach a client that has sent more
// than we read: closing a socket with unread data resets the connection, and
// the answer may be lost.
func (f *Forwarder) linger(c relay.Conn) {
	if c.CloseWrite() != nil {
		return
	}
	stop := context.AfterFunc(f.lifetime, func() { c.Close() })
	defer stop()
	c.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c, lingerBytes)
}

// event returns an event with the addresses of c, if anybody wants it.
func (f *Forwarder) event(c net.Conn) (e trace.Forward) {
	if trace.Wants(f.cfg.Tracer, trace.LevelConn) {
		e.Local, e.Originator = c.LocalAddr().String(), c.RemoteAddr().String()
		if _, ok := c.(*net.UnixConn); ok {
			e.Originator = "a local process" // it has no address
		}
	}
	return e
}

// noOriginator is where a connection that has no address says that it comes
// from: OpenSSH's words, which servers are used to.
var noOriginator = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 65535)

// originator is who connected, for the server's log and policy. IPv4 is IPv4
// whatever kind of socket it came through.
func originator(c net.Conn) netip.AddrPort {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return noOriginator
}
