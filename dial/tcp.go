// Package dial is how bytes reach an SSH server, before any of them is SSH's.
//
// Each type here has a method Dial(ctx, address) that returns a connection, as
// adit.Config.Dial wants it: TCP, Unix, Command for a program's standard input
// and output, Fdpass for a program that hands over a socket, Stdio for our own
// standard input and output, Jump for another SSH server. ctx bounds the call
// only. Errors are *Error, which say in which stage it failed, at which address,
// and what might help.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// TCP dials directly. Its zero value is ready for use.
//
// All addresses of a name are tried: the next one when one fails, or has not
// answered for a quarter of a second; the families take turns, and the first
// that answers wins (RFC 8305, sections 4 and 5). OpenSSH tries them one by one.
type TCP struct {
	// Network is "tcp4" or "tcp6" for addresses of one family only (ssh_config:
	// AddressFamily); "" and "tcp" are both.
	Network string
	// BindAddress is the local address or name to connect from (BindAddress).
	// "" leaves it to the system.
	BindAddress string
	// BindInterface is the interface whose address to connect from
	// (BindInterface); BindAddress goes before it. "" leaves it to the system.
	BindInterface string
	// Timeout bounds Dial, looking up the name included (ConnectTimeout). 0
	// leaves it to the system, which gives up after minutes.
	Timeout time.Duration
	// Attempts is how often all addresses are tried, a second apart
	// (ConnectionAttempts). 0 means once.
	Attempts int
	// NoKeepAlive turns TCP's keepalive off (TCPKeepAlive no). Otherwise it is
	// on with the system's times, on Linux a question after two hours.
	NoKeepAlive bool
	// TOS is the type of service of what is sent once there is a connection: the
	// whole byte, 0 to 255 (ssh_config: IPQoS; OpenSSH, misc.c, set_sock_tos). 0
	// leaves it to the system. A system that does not let it be set is no error.
	TOS int
}

const (
	// attemptDelay is how long an address has for itself: RFC 8305, section 8,
	// "Connection Attempt Delay".
	attemptDelay = 250 * time.Millisecond
	// roundDelay is the time between two rounds (OpenSSH, ssh_connect_direct).
	roundDelay = time.Second
)

// Dial connects to host:port. The connection is a *net.TCPConn and sends
// without delay (TCP_NODELAY).
func (d TCP) Dial(ctx context.Context, address string) (net.Conn, error) {
	limited := ctx
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	c, err := d.dial(limited, address)
	if err == nil {
		return c, nil
	}
	if _, ok := limited.Deadline(); ok && errors.Is(err.Err, os.ErrDeadlineExceeded) {
		<-limited.Done() // the connect's timer was a little earlier than the context's
	}
	switch {
	case ctx.Err() != nil:
		err.Err = context.Cause(ctx)
	case limited.Err() != nil:
		err.Err = fmt.Errorf("no answer within %v: %w", d.Timeout, os.ErrDeadlineExceeded)
	}
	return nil, err
}

func (d TCP) dial(ctx context.Context, address string) (net.Conn, *Error) {
	addrs, err := d.lookUp(ctx, address)
	if err != nil {
		return nil, err
	}
	for round := 1; ; round++ {
		c, err := d.race(ctx, address, addrs)
		if err == nil || round >= d.Attempts || ctx.Err() != nil {
			return c, err
		}
		select {
		case <-time.After(roundDelay):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// lookUp returns the addresses in the order in which they are tried.
func (d TCP) lookUp(ctx context.Context, address string) ([]netip.AddrPort, *Error) {
	network := "ip"
	switch d.Network {
	case "", "tcp":
	case "tcp4", "tcp6":
		network = "ip" + d.Network[3:]
	default:
		return nil, &Error{Stage: StageConnect, Address: address, Err: net.UnknownNetworkError(d.Network)}
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Error{Stage: StageConnect, Address: address, Err: errors.New("it has no port")}
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", portText)
	if err == nil && port == 0 {
		err = errors.New("port 0 is none")
	}
	if err != nil {
		return nil, &Error{Stage: StageConnect, Address: address, Err: plain(err)}
	}
	if _, err := netip.ParseAddr(host); err == nil && ctx.Err() != nil {
		return nil, &Error{Stage: StageConnect, Address: address, Err: ctx.Err()}
	}
	step := begin(ctx, StageResolve, host)
	ips, err := addressesOf(ctx, network, host)
	if err != nil {
		step.end(plain(err))
		return nil, &Error{Stage: StageResolve, Address: address, Err: plain(err)}
	}
	var addrs []netip.AddrPort
	for _, ip := range takeTurns(ips) {
		addrs = append(addrs, netip.AddrPortFrom(ip, uint16(port)))
		step.found(ip)
	}
	step.end(nil)
	return addrs, nil
}

// addressesOf looks a host up. For both families it keeps the zones of link-local
// addresses, such as that of fe80::1%eth0, which LookupNetIP drops.
func addressesOf(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network != "ip" {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
		if literal, perr := netip.ParseAddr(host); err == nil && perr == nil {
			ips = []netip.Addr{literal}
		}
		return ips, err
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	var ips []netip.Addr
	for _, f := range found {
		if ip, ok := netip.AddrFromSlice(f.IP); ok {
			ips = append(ips, ip.Unmap().WithZone(f.Zone))
		}
	}
	return ips, err
}

// takeTurns lets the families take turns, beginning with the first address's;
// within a family the system's order stays (RFC 8305, section 4). Each address
// is there once.
func takeTurns(ips []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr
	for _, ip := range ips {
		ip = ip.Unmap()
		f := &families[0]
		if len(*f) > 0 && (*f)[0].Is4() != ip.Is4() {
			f = &families[1]
		}
		if !slices.Contains(*f, ip) {
			*f = append(*f, ip)
		}
	}
	var all []netip.Addr
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				all = append(all, f[i])
			}
		}
	}
	return all
}

// attempt is what became of one address.
type attempt struct {
	c   net.Conn
	err *Error
	i   int // which address
}

// race tries the addresses and returns the first connection. Goroutines: one an
// address, which it waits for.
func (d TCP) race(ctx context.Context, address string, addrs []netip.AddrPort) (net.Conn, *Error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan attempt, len(addrs))
	errs := make([]*Error, len(addrs))
	started, running := 0, 0
	defer func() {
		cancel()
		for range running {
			if a := <-done; a.c != nil {
				a.c.Close()
			}
		}
	}()
	next := time.NewTimer(0) // the first one starts now
	defer next.Stop()
	for {
		select {
		case <-next.C:
			i := started
			go func() {
				step := begin(ctx, StageConnect, addrs[i].String())
				c, err := d.connect(ctx, addrs[i])
				step.failed(err)
				done <- attempt{c, err, i}
			}()
			running++
			if started++; started < len(addrs) {
				next.Reset(attemptDelay)
			}
		case a := <-done:
			running--
			if a.err == nil {
				return a.c, nil
			}
			errs[a.i] = a.err
			switch {
			case started < len(addrs) && ctx.Err() == nil:
				next.Reset(0)
			case running == 0:
				return nil, allFailed(address, addrs[:started], errs)
			}
		}
	}
}

// allFailed puts the errors of all addresses into one: the first connect that
// failed, rather than a local address that has the wrong family.
func allFailed(address string, addrs []netip.AddrPort, errs []*Error) *Error {
	e := &Error{Stage: StageConnect, Address: address}
	for i, a := range addrs {
		if errs[i] == nil || errs[i].Stage != StageConnect {
			continue
		}
		if e.Err == nil {
			e.Err = errs[i].Err
		}
		e.Tried = append(e.Tried, a.String())
	}
	if e.Err == nil {
		return errs[0]
	}
	return e
}

// connect connects to one address.
func (d TCP) connect(ctx context.Context, to netip.AddrPort) (net.Conn, *Error) {
	nd := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: !d.NoKeepAlive, Idle: -1, Interval: -1, Count: -1},
		KeepAlive:       -1, // or Go has times of its own with KeepAliveConfig off
	}
	from, ferr := d.from(ctx, to.Addr())
	if ferr != nil {
		return nil, ferr
	}
	if from.IsValid() {
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	c, err := nd.DialContext(ctx, "tcp", to.String())
	if err == nil {
		setTOS(c.(*net.TCPConn), to.Addr().Is4(), d.TOS)
		return c, nil
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok && call.Syscall == "bind" {
		return nil, &Error{Stage: StageBind, Address: from.String(), Err: plain(err)}
	}
	return nil, &Error{Stage: StageConnect, Address: to.String(), Err: plain(err)}
}
