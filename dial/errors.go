package dial

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Stage is how far a dial came.
type Stage string

// The stages.
const (
	StageBind      Stage = "bind address"
	StageInterface Stage = "bind interface"
	StageResolve   Stage = "look up"
	StageConnect   Stage = "connect to"
	StageCommand   Stage = "proxy command" // Address is the command
	StageJump      Stage = "jump host"     // Address is the host
)

// Error is a dial that failed.
type Error struct {
	Stage   Stage
	Address string   // as the caller gave it
	Tried   []string // the addresses that were tried, in that order
	Through string   // the proxy that was asked, in words; "" for none
	Err     error    // of the first one
}

func (e *Error) Error() string {
	at, also := e.Address, ""
	switch {
	case e.Stage == StageResolve:
		if host, _, err := net.SplitHostPort(e.Address); err == nil {
			at = host
		}
	case len(e.Tried) > 0:
		at = e.Tried[0]
		if len(e.Tried) > 1 {
			also = " (" + strings.Join(e.Tried[1:], ", ") + " failed too)"
		}
	}
	if e.Through != "" {
		at += " through " + e.Through
	}
	return strings.TrimRight(string(e.Stage)+" "+at, " ") + ": " + e.Err.Error() + also
}

// Unwrap returns the cause, such as one that is syscall.ECONNREFUSED.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what might help, in one line for a person; "" if nothing is known.
func (e *Error) Hint() string {
	if h := proxyHint(e); h != "" {
		return h
	}
	if dns, ok := errors.AsType[*net.DNSError](e.Err); ok {
		if dns.IsNotFound {
			return "there is no host of that name: check its spelling, and whether it is an alias that a configuration file must explain"
		}
		return "the name server did not answer: is the network up?"
	}
	if cmd, ok := errors.AsType[*CommandError](e.Err); ok {
		return cmd.hint()
	}
	if fd, ok := errors.AsType[*fdpassError](e.Err); ok {
		return fd.hint
	}
	if inner, ok := errors.AsType[*Error](e.Err); ok {
		return inner.Hint() // of a jump host
	}
	errno, _ := errors.AsType[syscall.Errno](e.Err)
	switch {
	case e.Stage == StageInterface:
		return "ip address (or ifconfig) lists the interfaces and what addresses they have"
	case errors.Is(e.Err, context.Canceled):
		return ""
	case errno == refusedErrno:
		return "the host is there but nothing listens on that port: check the port, and that the SSH server runs"
	case slices.Contains(unreachableErrnos, errno):
		return "there is no way to that address from here: is the network up, or a VPN or a proxy needed?"
	case errno == timeoutErrno, errors.Is(e.Err, os.ErrDeadlineExceeded), errors.Is(e.Err, context.DeadlineExceeded):
		return "nothing came back: the host may be down, or a firewall drops what we send"
	}
	return ""
}

// plain takes off what net's errors repeat of the stage and the address.
func plain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return &resolveError{dns}
	}
	return err
}

// resolveError is a DNSError without the name, which stands before it.
type resolveError struct{ dns *net.DNSError }

func (e *resolveError) Error() string {
	if e.dns.Server != "" {
		return e.dns.Err + ", says " + e.dns.Server
	}
	return e.dns.Err
}

func (e *resolveError) Unwrap() error { return e.dns }
