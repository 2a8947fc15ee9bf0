package testpeer

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// Every client does what it says, as sshd sees it. What holds here and fails
// with our server is our server's fault.
func TestClients(t *testing.T) {
	for _, c := range Clients() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			Need(t, c.needs...)
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			s := SSHD(t, SSHDOptions{LogLevel: "DEBUG1"})

			const size = 4 << 20
			hash := HashTarget(t)
			o := TunnelOptions{}
			if c.Rekeys {
				o.RekeyBytes = size / 4
			}
			tunnel := c.Tunnel(t, &s.Endpoint, hash.Addr, o)
			if err := tunnel.Transfer(ctx, func(s Stream) error { return Upload(s, size) }); err != nil {
				t.Errorf("upload: %v", err)
			}
			if c.Single {
				tunnel = c.Tunnel(t, &s.Endpoint, hash.Addr, o)
			}
			if err := tunnel.Transfer(ctx, func(s Stream) error { return Download(s, size) }); err != nil {
				t.Errorf("download: %v", err)
			}
			if n := strings.Count(s.Log(), "SSH2_MSG_NEWKEYS received"); c.Rekeys && n < 3 {
				t.Errorf("sshd saw %d key exchanges, want at least 3", n)
			}

			if c.HalfCloses {
				tunnel = c.Tunnel(t, &s.Endpoint, EchoTarget(t).Addr, TunnelOptions{})
				if err := tunnel.Transfer(ctx, func(s Stream) error { return Echo(s, size) }); err != nil {
					t.Errorf("half-close: %v", err)
				}
			}
			if err := c.Refused(t, &s.Endpoint, RefusedAddr(t)); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// A client that takes any host key would prove nothing about ours.
func TestClientsPinTheHostKey(t *testing.T) {
	for _, c := range Clients() {
		if c == xcryptoClient {
			continue // it ends the test at once; TestServersRefuseOtherKeys has it
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			Need(t, c.needs...)
			s := SSHD(t, SSHDOptions{})
			e := s.Endpoint
			e.HostKeys = []gossh.PublicKey{NewKey(t, "ed25519").Public}
			target := GreetingTarget(t, "hello")
			fake := &failures{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.Refused(fake, &e, target.Addr)
			}()
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatal("the client goes on in spite of another host key")
			}
			if n := target.Accepted(); n > 0 {
				t.Errorf("the client forwarded %d connections in spite of another host key", n)
			}
		})
	}
}

// failures is a test that may fail.
type failures struct{ testing.TB }

func (failures) Errorf(string, ...any) {}
func (failures) Fatal(...any)          { runtime.Goexit() }
func (failures) Fatalf(string, ...any) { runtime.Goexit() }
