package ssm

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

func openTunnel(t *testing.T, s *Service, port int) *Tunnel {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tunnel, err := s.Tunnel(ctx, Options{Target: node, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close() })
	return tunnel
}

// through is a connection that does not wait for ever.
func through(t *testing.T, tunnel *Tunnel) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := tunnel.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func TestTunnel(t *testing.T) {
	for _, version := range []string{"3.3.987.0", "3.0.196.0"} {
		t.Run(version, func(t *testing.T) {
			g := &ssmgw.Gateway{Agent: ssmgw.Agent{Version: version}}
			s := serve(t, g)
			tunnel := openTunnel(t, s, target(t, echo))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					c, err := tunnel.Dial(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					roundTrip(t, c, 100_000)
				})
			}
			wg.Wait()
			if started := count(g, "StartSession"); version == "3.3.987.0" && started != 1 {
				t.Errorf("%d sessions for 5 connections, want 1", started)
			}
		})
	}
}

func count(g *ssmgw.Gateway, event string) (n int) {
	for _, e := range g.Events() {
		if e == event {
			n++
		}
	}
	return n
}

func TestTunnelIsRenewed(t *testing.T) {
	g := &ssmgw.Gateway{}
	s := serve(t, g)
	tunnel := openTunnel(t, s, target(t, echo))
	g.TerminateSession("tester-0000000000000001")
	<-tunnel.mux.session.Done()
	roundTrip(t, through(t, tunnel), 1000)
}

func TestTunnelToRefusedPort(t *testing.T) {
	s := serve(t, &ssmgw.Gateway{})
	c := through(t, openTunnel(t, s, refused(t)))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errUnreached) {
		t.Errorf("%v, want %v", err, errUnreached)
	}
}

// What AWS or the agent says about a session's end is no terminal's business.
func TestEndOfTunnelIsPrintable(t *testing.T) {
	g := &ssmgw.Gateway{Farewell: "ended by \x1b[2Jme"}
	s := serve(t, g)
	tunnel := openTunnel(t, s, target(t, echo))
	c := through(t, tunnel)
	c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	g.TerminateAll()
	<-tunnel.mux.session.Done()
	_, err := c.Write([]byte("x"))
	if _, ok := errors.AsType[*Error](err); !ok || err.Error() != "session with "+node+": session was closed: ended by ?[2Jme" {
		t.Errorf("%q", err)
	}
}
