package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/adit-ssh/adit/internal/testpeer"
)

type refusedOpen struct {
	reason uint32
	text   string
}

func (e refusedOpen) Error() string                 { return e.text }
func (e refusedOpen) OpenFailure() (uint32, string) { return e.reason, e.text }

// What a server of ours answers is understood by a client of ours.
func TestOutcomeRoundTrip(t *testing.T) {
	for i := range outcomes {
		o := Outcome(i)
		if got := OutcomeOf(fmt.Errorf("open: %w", refusedOpen{outcomes[i].reason, outcomes[i].text})); got != o {
			t.Errorf("%v arrives as %v", o, got)
		}
		if o.String() == "" || o.HTTP() < 400 || o.HTTP() > 599 || o.SOCKS() < 1 || o.SOCKS() > 8 {
			t.Errorf("outcome %d is incomplete: %+v", i, outcomes[i])
		}
	}
}

// Descriptions as servers send them. Collected from OpenSSH and dropbear on
// Linux, macOS and FreeBSD, Go programs, OTP and asyncssh.
func TestOutcomeOfOpenFailure(t *testing.T) {
	for _, tt := range []struct {
		reason uint32
		text   string
		want   Outcome
		socks  uint8
		http   int
	}{
		{2, "Connection refused", Refused, 5, 502},
		{2, "dial tcp 10.0.0.1:80: connect: connection refused", Refused, 5, 502},
		{2, "econnrefused", Refused, 5, 502},
		{2, "No route to host", HostUnreachable, 4, 502},
		{2, "Network is unreachable", NetUnreachable, 3, 502},
		{2, "Connection timed out", TimedOut, 6, 504},
		{2, "Operation timed out", TimedOut, 6, 504},
		{2, "dial tcp 10.0.0.1:80: i/o timeout", TimedOut, 6, 504},
		{2, "Name or service not known", UnknownHost, 4, 502},
		{2, "nodename nor servname provided, or not known", UnknownHost, 4, 502},
		{2, "Temporary failure in name resolution", UnknownHost, 4, 502},
		{2, "dial tcp: lookup x: no such host", UnknownHost, 4, 502},
		{2, "Connection reset by peer", Broken, 1, 502},
		{2, "", Failed, 1, 502},
		{2, "open failed", Failed, 1, 502},
		{1, "open failed", Prohibited, 2, 403},
		{1, "Connection refused", Prohibited, 2, 403},
		{2, "open failed: administratively prohibited", Prohibited, 2, 403},
		{3, "", Prohibited, 2, 403},
		{4, "", Shortage, 1, 503},
		{77, "Connection refused", Refused, 5, 502},
	} {
		o := OutcomeOfOpenFailure(tt.reason, tt.text)
		if o != tt.want || o.SOCKS() != tt.socks || o.HTTP() != tt.http {
			t.Errorf("reason %d %q: %v, SOCKS %d, HTTP %d; want %v, %d, %d", tt.reason, tt.text, o, o.SOCKS(), o.HTTP(), tt.want, tt.socks, tt.http)
		}
	}
}

func TestOutcomeOfDial(t *testing.T) {
	wrap := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, tt := range []struct {
		err    error
		want   Outcome
		reason uint32
	}{
		{&net.DNSError{Err: "no such host", IsNotFound: true}, UnknownHost, 2},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, TimedOut, 2},
		{wrap(os.ErrDeadlineExceeded), TimedOut, 2},
		{context.DeadlineExceeded, TimedOut, 2},
		{fmt.Errorf("dial: %w", net.ErrClosed), Broken, 2},
		{&net.AddrError{Err: "mismatched local address type"}, Unsupported, 2},
		{errors.New("gremlins"), Failed, 2},
	} {
		o := OutcomeOf(tt.err)
		if reason, text := o.OpenFailure(); o != tt.want || reason != tt.reason || text == "" {
			t.Errorf("%v: %v, reason %d %q; want %v, %d", tt.err, o, reason, text, tt.want, tt.reason)
		}
	}
	for errno, want := range errnos {
		if got := OutcomeOf(wrap(errno)); got != want {
			t.Errorf("%v: %v, want %v", errno, got, want)
		}
	}
}

func TestOutcomeOfRealRefusal(t *testing.T) {
	c, err := net.Dial("tcp", testpeer.RefusedAddr(t))
	if err == nil {
		c.Close()
		t.Fatal("a port that nobody can listen on takes connections")
	}
	if got := OutcomeOf(err); got != Refused {
		t.Errorf("%v: %v, want %v", err, got, Refused)
	}
	if _, ok := errors.AsType[syscall.Errno](err); !ok {
		t.Errorf("%v carries no errno", err)
	}
}
