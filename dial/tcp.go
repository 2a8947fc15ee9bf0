// Package dial is how bytes reach an SSH server, before any of them is SSH's.
//
// Each type here has a method Dial(ctx, address) that returns a connection, as
// adit.Config.Dial wants it. ctx bounds the call only. Errors are *Error, which
// say in which stage it failed, at which address, and what might help.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// TCP dials directly. Its zero value is ready for use.
type TCP struct {
	// Network is "tcp4" or "tcp6" for addresses of one family only (ssh_config:
	// AddressFamily); "" and "tcp" are both, of which the faster wins (RFC
	// 8305).
	Network string
	// BindAddress is the local address or name to connect from (BindAddress).
	// "" leaves it to the system.
	BindAddress string
	// Timeout bounds Dial, looking up the name included (ConnectTimeout). 0
	// leaves it to the system, which gives up after minutes.
	Timeout time.Duration
	// NoKeepAlive turns TCP's keepalive off (TCPKeepAlive no). Otherwise it is
	// on with the system's times, on Linux a question after two hours.
	NoKeepAlive bool
}

// Dial connects to host:port. The connection is a *net.TCPConn and sends
// without delay (TCP_NODELAY).
func (d TCP) Dial(ctx context.Context, address string) (net.Conn, error) {
	network := d.Network
	if network == "" {
		network = "tcp"
	}
	limited := ctx
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	var tried attempts
	nd := net.Dialer{
		ControlContext:  tried.note,
		KeepAliveConfig: net.KeepAliveConfig{Enable: !d.NoKeepAlive, Idle: -1, Interval: -1, Count: -1},
		KeepAlive:       -1, // or Go has times of its own with KeepAliveConfig off
	}
	if d.BindAddress != "" {
		addrs, err := net.DefaultResolver.LookupNetIP(limited, strings.Replace(network, "tcp", "ip", 1), d.BindAddress)
		if err != nil {
			return nil, &Error{Stage: StageBind, Address: d.BindAddress, Err: plain(err)}
		}
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(addrs[0].Unmap(), 0))
	}
	c, err := nd.DialContext(limited, network, address)
	if err == nil {
		return c, nil
	}

	e := &Error{Stage: StageConnect, Address: address, Tried: tried.list(), Err: plain(err)}
	if len(e.Tried) == 0 && !isIP(address) {
		e.Stage = StageResolve
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok && call.Syscall == "bind" {
		e.Stage, e.Address, e.Tried = StageBind, d.BindAddress, nil
	}
	switch {
	case ctx.Err() != nil:
		e.Err = context.Cause(ctx)
	case limited.Err() != nil:
		e.Err = fmt.Errorf("no answer within %v: %w", d.Timeout, os.ErrDeadlineExceeded)
	}
	return nil, e
}

func isIP(address string) bool {
	_, err := netip.ParseAddrPort(address)
	return err == nil
}

// attempts are the addresses that net.Dialer tries, two at a time.
type attempts struct {
	mu    sync.Mutex
	addrs []string // guarded by mu
}

func (a *attempts) note(_ context.Context, _, address string, _ syscall.RawConn) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.addrs, address) { // net.Dialer may try one again
		a.addrs = append(a.addrs, address)
	}
	return nil
}

func (a *attempts) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addrs
}
