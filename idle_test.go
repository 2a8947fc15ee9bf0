package adit_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// A forward through sshd that is quiet for its time is closed at both ends, one of
// another type is not.
func TestChannelTimeout(t *testing.T) {
	s, target := testpeer.SSHD(t, testpeer.SSHDOptions{}), testpeer.EchoTarget(t)
	const limit = 50 * time.Millisecond
	c := dial(t, s.Addr, &adit.Config{User: s.User, CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Keys: adit.Keys(s.Key.Signer),
		ChannelTimeout: func(typ string) time.Duration {
			if typ == "direct-tcpip" {
				return limit
			}
			return 0
		}})
	conn, err := c.DialContext(t.Context(), "tcp", target.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if e, ok := errors.AsType[*adit.IdleError](err); string(b) != "hello" || !ok || e.After != limit {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := c.Ping(t.Context()); err != nil {
		t.Errorf("the connection has ended, too: %v", err)
	}
}
