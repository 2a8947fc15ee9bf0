package relay

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/adit-ssh/adit/internal/wire"
)

// Outcome is why a connection could not be made, in a form that every protocol
// here has a word for.
type Outcome uint8

// The outcomes.
const (
	Failed Outcome = iota // for no reason that has a name below
	Refused
	HostUnreachable
	NetUnreachable
	TimedOut
	UnknownHost
	Prohibited
	Shortage
	Unsupported // an address family that the system lacks
	Broken      // the connection was there, or the way to it, and broke
)

// outcomes is the one table. The texts are what OpenSSH's server sends for its
// system's error, so that whoever searches logs for them finds ours too.
//
// SOCKS codes are those of RFC 1928, section 6. It has none for names that
// don't resolve; host unreachable makes clients report, and not retry another
// way, as a general failure does.
//
// phrases are found in the descriptions that SSH servers send: C libraries',
// Go's and Erlang's words for the errno, in lower case.
var outcomes = [...]struct {
	name    string
	text    string
	reason  uint32
	socks   uint8
	http    int
	phrases []string
}{
	Failed:          {"failed", "Connect failed", wire.OpenConnectFailed, 1, 502, nil},
	Refused:         {"refused", "Connection refused", wire.OpenConnectFailed, 5, 502, []string{"connection refused", "actively refused", "econnrefused"}},
	HostUnreachable: {"host unreachable", "No route to host", wire.OpenConnectFailed, 4, 502, []string{"no route to host", "host is down", "host is unreachable", "host unreachable", "unreachable host", "ehostunreach", "ehostdown"}},
	NetUnreachable:  {"network unreachable", "Network is unreachable", wire.OpenConnectFailed, 3, 502, []string{"network is unreachable", "network unreachable", "unreachable network", "network is down", "enetunreach", "enetdown"}},
	TimedOut:        {"timed out", "Connection timed out", wire.OpenConnectFailed, 6, 504, []string{"timed out", "timeout", "deadline exceeded", "etimedout"}},
	UnknownHost:     {"unknown host", "Name or service not known", wire.OpenConnectFailed, 4, 502, []string{"name or service not known", "nodename nor servname", "no address associated", "name resolution", "unknown host", "no such host", "name does not resolve", "resolve", "nxdomain"}},
	Prohibited:      {"prohibited", "Connection not allowed", wire.OpenAdministrativelyProhibited, 2, 403, []string{"prohibited", "not allowed", "not permitted", "permission denied", "eacces", "eperm"}},
	Shortage:        {"resource shortage", "Resource shortage", wire.OpenResourceShortage, 1, 503, []string{"too many open files", "no buffer space", "cannot allocate memory", "resource shortage", "emfile"}},
	Unsupported:     {"not supported", "Address family not supported", wire.OpenConnectFailed, 8, 502, []string{"address family not supported", "eafnosupport"}},
	Broken:          {"broken", "Connection reset by peer", wire.OpenConnectFailed, 1, 502, []string{"connection reset", "econnreset"}},
}

// String returns the outcome's name, lower case.
func (o Outcome) String() string { return outcomes[o].name }

// OpenFailure returns the reason and description for a CHANNEL_OPEN_FAILURE
// (RFC 4254, section 5.1).
func (o Outcome) OpenFailure() (reason uint32, description string) {
	return outcomes[o].reason, outcomes[o].text
}

// SOCKS returns the SOCKS5 reply code (RFC 1928, section 6).
func (o Outcome) SOCKS() uint8 { return outcomes[o].socks }

// HTTP returns the status for the answer to a CONNECT.
func (o Outcome) HTTP() int { return outcomes[o].http }

// openFailure is an error that carries an SSH server's refusal of a channel.
type openFailure interface {
	error
	OpenFailure() (reason uint32, description string)
}

// OutcomeOf tells what err, from a dial or from an open, was.
func OutcomeOf(err error) Outcome {
	if e, ok := errors.AsType[openFailure](err); ok {
		return OutcomeOfOpenFailure(e.OpenFailure())
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if o, ok := errnos[errno]; ok {
			return o
		}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && !dns.IsTimeout {
		return UnknownHost
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return TimedOut
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return TimedOut
	case errors.Is(err, net.ErrClosed):
		return Broken
	}
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return Unsupported
	}
	return Failed
}

// OutcomeOfOpenFailure tells what an SSH server meant by refusing a channel.
// The reason decides where it says more than "connect failed"; the description
// is free text, and is believed only to tell connect failures apart.
func OutcomeOfOpenFailure(reason uint32, description string) Outcome {
	switch reason {
	case wire.OpenAdministrativelyProhibited, wire.OpenUnknownChannelType:
		return Prohibited // A server without direct-tcpip forbids all of it.
	case wire.OpenResourceShortage:
		return Shortage
	}
	if len(description) > maxDescription {
		description = description[:maxDescription]
	}
	description = strings.ToLower(description)
	for o := range outcomes {
		for _, phrase := range outcomes[o].phrases {
			if strings.Contains(description, phrase) {
				return Outcome(o)
			}
		}
	}
	return Failed
}

// maxDescription is how much of a peer's description is searched, in bytes.
const maxDescription = 1 << 10
