package forward

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// ListenError is an address or a path that can't be listened on.
type ListenError struct {
	Addr netip.AddrPort
	Path string // of a unix socket, instead of Addr
	// Holder is who has it already, such as "pid 812 (postgres)", if it is busy
	// and we may know.
	Holder string
	// Stale says that Path is a socket on which nobody listens any more, NoSocket
	// that it is something else.
	Stale, NoSocket bool
	Err             error
}

func (e *ListenError) Error() string {
	at := e.Path
	if at == "" {
		at = e.Addr.String()
	}
	text := "listen on " + at + ": " + plainText(e.Err)
	switch {
	case e.Stale:
		text += " by a socket on which nobody listens any more"
	case e.NoSocket:
		text += " by a file that is no socket"
	case e.Holder != "":
		text += ", held by " + e.Holder
	case e.Path == "" && errors.Is(e.Err, fs.ErrPermission) && e.Addr.Port() < 1024:
		text += ": ports below 1024 are for privileged users"
	}
	return text
}

// Hint says what to do about it, or is "".
func (e *ListenError) Hint() string {
	if e.Stale {
		return "remove it with: rm '" + e.Path + "', or have such sockets replaced with -o StreamLocalBindUnlink=yes"
	}
	return ""
}

// Unwrap returns the cause, such as one that is syscall.EADDRINUSE.
func (e *ListenError) Unwrap() error { return e.Err }

// plainText is err without the address and the call that net's errors repeat.
func plainText(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return err.Error()
}

// portTries is how often a port that the system chose for the first address is
// given up since another address has it taken.
const portTries = 8

// listen binds all addresses that spec means. With port 0 all get the same one.
func listen(ctx context.Context, spec Spec, cfg Config) (ls []net.Listener, skipped []error, err error) {
	if spec.TargetPath != "" && cfg.OpenPath == nil {
		return nil, nil, fmt.Errorf("forward %s: %w", spec, errPath)
	}
	if spec.ListenPath != "" {
		l, err := listenPath(spec.ListenPath, cfg)
		if err != nil {
			return nil, nil, fmt.Errorf("forward %s: %w", spec, err)
		}
		return []net.Listener{l}, nil, nil
	}
	addrs, err := bindAddrs(ctx, spec.Bind, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("forward %s: %w", spec, err)
	}
	for try := 1; ; try++ {
		ls, skipped = bind(ctx, addrs, spec.Port)
		if len(ls) == 0 {
			return nil, nil, fmt.Errorf("forward %s: %w", spec, skipped[0])
		}
		if spec.Port != 0 || len(skipped) == 0 || try == portTries {
			return ls, skipped, nil
		}
		for _, l := range ls {
			l.Close()
		}
	}
}

// bindAddrs returns the addresses that a bind address stands for.
func bindAddrs(ctx context.Context, bind string, cfg Config) ([]netip.Addr, error) {
	var addrs []netip.Addr
	switch {
	case bind == "*", bind == "" && cfg.GatewayPorts:
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	case bind == "", bind == "localhost":
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	default:
		var err error
		if addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", bind); err != nil {
			return nil, fmt.Errorf("bind address: %w", err)
		}
	}
	var fit []netip.Addr
	for _, a := range addrs {
		a = a.Unmap()
		if cfg.Network == "tcp4" && !a.Is4() || cfg.Network == "tcp6" && !a.Is6() {
			continue
		}
		fit = append(fit, a)
	}
	if len(fit) == 0 {
		return nil, fmt.Errorf("bind address %q has no %s address", bind, strings.Replace(cfg.Network, "tcp", "IPv", 1))
	}
	return fit, nil
}

// bind listens on addrs. Addresses that this machine doesn't have are left out
// in silence if others are there, and come last in failed if not.
func bind(ctx context.Context, addrs []netip.Addr, port uint16) (ls []net.Listener, failed []error) {
	var absent []error
	// Keepalive with the system's own times, as OpenSSH has it: thousands of
	// idle connections shall not wake us every 15 seconds.
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}}
	lc.SetMultipathTCP(false) // Go asks for it; local programs gain nothing by it.
	for _, a := range addrs {
		network := "tcp4"
		if a.Is6() {
			network = "tcp6" // and IPV6_V6ONLY, so that "::" leaves "0.0.0.0" free
		}
		l, err := lc.Listen(ctx, network, netip.AddrPortFrom(a, port).String())
		if err != nil {
			err := &ListenError{Addr: netip.AddrPortFrom(a, port), Err: err}
			if isAbsent(err) {
				absent = append(absent, err)
				continue
			}
			if isBusy(err) {
				err.Holder = holder(err.Addr)
			}
			failed = append(failed, err)
			continue
		}
		ls = append(ls, l)
		port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	}
	if len(ls) == 0 {
		failed = append(failed, absent...)
	}
	return ls, failed
}
