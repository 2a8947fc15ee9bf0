package adit_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/bastion"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// flights dials with cfg.Ahead set to a target, opens it, talks to it, and
// returns the numbers of the messages sent (positive) and received (negative)
// from SERVICE_REQUEST on.
func flights(t *testing.T, addr string, cfg *adit.Config) []int {
	t.Helper()
	target := testpeer.EchoTarget(t)
	rec := trace.NewRecorder(trace.LevelPacket, 10_000)
	cfg.Ahead, cfg.Tracer = target.Addr, rec
	c := dial(t, addr, cfg)
	for i, want := range []string{"first", "second"} {
		conn, err := c.DialContext(t.Context(), "tcp", target.Addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := testpeer.Echo(conn.(*adit.Conn), 10_000); err != nil {
			t.Errorf("the %s connection: %v", want, err)
		}
		conn.Close()
		if n := target.Accepted(); n != i+1 {
			t.Errorf("after the %s connection the target has seen %d", want, n)
		}
	}
	var nums []int
	for _, e := range rec.Records() {
		p, ok := e.Event.(trace.Packet)
		if !ok {
			continue
		}
		n := int(p.Num)
		if !p.Out {
			n = -n
		}
		if len(nums) > 0 || n == wire.NumServiceRequest {
			nums = append(nums, n)
		}
	}
	return nums
}

// With adit's own server, and sshd, the open leaves before the login's verdict.
func TestAheadLeavesWithTheLogin(t *testing.T) {
	check := func(t *testing.T, nums []int) {
		open := slices.Index(nums, wire.NumChannelOpen)
		success := slices.Index(nums, -wire.NumUserauthSuccess)
		confirmed := slices.Index(nums, -wire.NumChannelOpenConfirmation)
		if open < 0 || open > success || confirmed < success {
			t.Errorf("messages %v: want CHANNEL_OPEN (%d) sent before USERAUTH_SUCCESS (%d) came",
				nums[:min(len(nums), 20)], wire.NumChannelOpen, -wire.NumUserauthSuccess)
		}
	}
	t.Run("bastion", func(t *testing.T) {
		addr, cfg := serve(t, bastion.Permissions{})
		check(t, flights(t, addr, cfg))
	})
	t.Run("sshd", func(t *testing.T) {
		s := testpeer.SSHD(t, testpeer.SSHDOptions{})
		check(t, flights(t, s.Addr, &adit.Config{User: s.User, CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Keys: adit.Keys(s.Key.Signer)}))
	})
}

// A key that is refused takes the open with it; the open is sent again.
func TestAheadAfterARefusedKey(t *testing.T) {
	other := testpeer.NewSigner(t)
	keys := func(right gossh.Signer) *adit.Config {
		return &adit.Config{Keys: func(ctx context.Context) ([]adit.Key, error) {
			return []adit.Key{{Signer: other, Known: true}, {Signer: right}}, nil
		}}
	}
	check := func(t *testing.T, nums []int) {
		failure := slices.Index(nums, -wire.NumUserauthFailure)
		opens := 0
		for i, n := range nums {
			if n == wire.NumChannelOpen && i < failure {
				opens++
			}
		}
		if failure < 0 || opens != 1 {
			t.Errorf("messages %v: want one CHANNEL_OPEN before the refusal, as the first key was expected to work", nums[:min(len(nums), 20)])
		}
	}
	t.Run("bastion", func(t *testing.T) {
		addr, own := serve(t, bastion.Permissions{})
		list, _ := own.Keys(t.Context())
		cfg := keys(list[0].Signer)
		cfg.User, cfg.CheckHostKey = own.User, own.CheckHostKey
		check(t, flights(t, addr, cfg))
	})
	t.Run("sshd", func(t *testing.T) {
		s := testpeer.SSHD(t, testpeer.SSHDOptions{})
		cfg := keys(s.Key.Signer)
		cfg.User, cfg.CheckHostKey = s.User, adit.FixedHostKey(s.HostKeys[0])
		check(t, flights(t, s.Addr, cfg))
	})
}

// Servers that are not known to bear it get the open after the login.
func TestAheadWaitsForOtherServers(t *testing.T) {
	s := testpeer.XCrypto(t)
	nums := flights(t, s.Addr, &adit.Config{User: s.User, CheckHostKey: adit.FixedHostKey(s.HostKeys[0]), Keys: adit.Keys(s.Key.Signer)})
	if open, success := slices.Index(nums, wire.NumChannelOpen), slices.Index(nums, -wire.NumUserauthSuccess); open < success {
		t.Errorf("messages %v: CHANNEL_OPEN left before the login's verdict", nums[:min(len(nums), 20)])
	}
}

func TestAheadRefused(t *testing.T) {
	addr, cfg := serve(t, bastion.Permissions{})
	cfg.Ahead = testpeer.RefusedAddr(t)
	c := dial(t, addr, cfg)
	for range 2 {
		if _, err := c.DialContext(t.Context(), "tcp", cfg.Ahead); !isOpenError(err) {
			t.Errorf("a target that refuses: got %v, want an OpenError", err)
		}
	}
	cfg.Ahead = "nowhere"
	if _, err := adit.Dial(t.Context(), addr, cfg); err == nil {
		t.Error("Config.Ahead without a port was taken")
	}
}

func isOpenError(err error) bool {
	_, ok := errors.AsType[*adit.OpenError](err)
	return ok
}

// Nobody has to take the channel.
func TestAheadUnused(t *testing.T) {
	addr, cfg := serve(t, bastion.Permissions{})
	cfg.Ahead = testpeer.EchoTarget(t).Addr
	c := dial(t, addr, cfg)
	conn, err := c.DialContext(t.Context(), "tcp", testpeer.GreetingTarget(t, "hello").Addr)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); string(b) != "hello" || err != nil {
		t.Errorf("another target said %q, %v", b, err)
	}
}
