package ssmsession

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// An end is the target's if nothing can have been lost before it. What was lost with a
// WebSocket the agent sends again, one message in 100 ms, and for 2 s only once the
// target has closed.
func TestEndBehindANewWebSocket(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(p *script) // on the new WebSocket
		sure bool
	}{
		{"at once", func(p *script) {}, false},
		{"after a second", func(p *script) { <-time.After(time.Second) }, false},
		{"after a time in which the agent would have sent again", func(p *script) { <-time.After(tailDoubt) }, true},
		{"amid what is sent again", func(p *script) {
			for i := range int64(50) {
				<-time.After(100 * time.Millisecond)
				p.output(2+i, ssmwire.PayloadData, "x")
			}
		}, false},
		{"amid what is new", func(p *script) {
			p.output(2, ssmwire.PayloadData, "x")
			<-time.After(time.Millisecond)
			p.output(3, ssmwire.PayloadData, "x")
		}, true},
		{"after all that was lost before something new", func(p *script) {
			p.output(4, ssmwire.PayloadData, "x")
			for i := range int64(2) {
				<-time.After(100 * time.Millisecond)
				p.output(2+i, ssmwire.PayloadData, "x")
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, second := newScript(t), newScript(t)
				p.begin(Options{Connect: func(_ context.Context, again bool, _ func() bool) (Messages, error) {
					if again {
						return second, nil
					}
					return p, nil
				}})
				defer p.s.Close()
				p.Close()
				synctest.Wait()
				c.do(second)
				second.control(ssmwire.ChannelClosed, `{"Output":""}`)
				if _, err := io.ReadAll(p.s); (err == nil) != c.sure || err != nil && !errors.Is(err, errUnsure) {
					t.Errorf("%v, want the target's end: %v", err, c.sure)
				}
			})
		})
	}
}

// A target that sends and closes, while WebSockets end: all has come, or there is an
// error.
func TestPropertyOfTheEnd(t *testing.T) {
	whole, ended := 0, 0
	for seed := uint64(1); seed <= 60; seed++ {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 9))
			down := stream(2, r.IntN(60_000))
			f := ssmgw.Faults{Seed: seed, Delay: time.Duration(r.IntN(80)) * time.Millisecond, CloseAfter: 2000 + r.Int64N(40_000), Closes: 1 + r.IntN(3)}
			late := time.Duration(r.IntN(2000)) * time.Millisecond
			gw := &ssmgw.Gateway{Faults: f, Agent: ssmgw.Agent{Sleep: time.Millisecond}}
			b := &bench{t: t, gw: gw, target: func(c net.Conn) { c.Write(down); c.Close() }}
			b.late = func() { <-time.After(late) }
			defer gw.Close()
			s, err := b.start(t.Context(), "AWS-StartSSHSession", nil)
			if err != nil {
				ended++
				return
			}
			defer s.Close()
			switch got, err := io.ReadAll(s); {
			case err != nil:
				ended++
			case string(got) != string(down):
				t.Errorf("seed %d, %+v, resumed after %v: %d of %d bytes, and an end that looks like the target's", seed, f, late, len(got), len(down))
			default:
				whole++
			}
		})
	}
	t.Logf("%d came whole, %d ended with an error", whole, ended)
}
