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
		{"amid what is sent again and was here", func(p *script) {
			for range 50 {
				<-time.After(100 * time.Millisecond)
				p.output(1, ssmwire.PayloadHandshakeComplete, `{}`)
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

// The agent's own WebSocket may end, too: what it lost with it comes again one message in
// 100 ms, which only its clock tells from what is new.
func TestEndBehindWhatIsSentAgain(t *testing.T) {
	const late = 150 * time.Millisecond // the script itself takes no time
	for _, c := range []struct {
		name string
		do   func(p *script)
		sure bool
	}{
		{"made together, come apart", func(p *script) {
			p.made(2, 1000)
			<-time.After(late)
			p.made(3, 1001)
		}, false},
		{"made apart, come apart", func(p *script) {
			p.made(2, 1000)
			<-time.After(late)
			p.made(3, 1000+late.Milliseconds())
		}, true},
		{"and then something new", func(p *script) {
			p.made(2, 1000)
			<-time.After(late)
			p.made(3, 1001)
			p.made(4, 1002)
		}, true},
		{"and then no more for a while", func(p *script) {
			p.made(2, 1000)
			<-time.After(late)
			p.made(3, 1001)
			<-time.After(tailDoubt)
		}, true},
		{"what was behind it is here", func(p *script) {
			p.made(2, 1000)
			p.made(4, 1002)
			<-time.After(late)
			p.made(3, 1001)
		}, true},
		{"a clock that stands still", func(p *script) {
			p.made(2, 1)
			<-time.After(late)
			p.made(3, 1)
		}, true},
		{"a clock that was set back", func(p *script) {
			p.made(2, 1000)
			<-time.After(late)
			p.made(3, 500)
		}, true},
		{"acked before", func(p *script) {
			p.made(2, 1000)
			<-time.After(late)
			p.made(1, 999)
		}, false},
		{"sent again before it could be acked", func(p *script) {
			p.made(2, 1000)
			<-time.After(tailTick / 2)
			p.made(1, 999)
		}, true},
		{"we did not read", func(p *script) {
			for i := range int64(receiveLimit>>20 + 1) {
				p.madeOf(2+i, 1000+i, make([]byte, 1<<20))
			}
			p.made(7, 1010) // nobody looks at this now
			<-time.After(late)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newScript(t)
				p.begin(Options{})
				defer p.s.Close()
				c.do(p)
				p.control(ssmwire.ChannelClosed, `{"Output":""}`)
				if _, err := io.ReadAll(p.s); (err == nil) != c.sure || err != nil && !errors.Is(err, errResent) {
					t.Errorf("%v, want the target's end: %v", err, c.sure)
				}
			})
		})
	}
}

// What completes the handshake tells how far the agent is, even if its ack is lost.
func TestEndAfterALostAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newScript(t)
		p.greet(greeting)
		done := make(chan error, 1)
		go func() { done <- p.start(Options{}) }()
		p.wantInputs("greeted", 0)
		<-time.After(50 * time.Millisecond)
		p.output(1, ssmwire.PayloadHandshakeComplete, `{}`)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		defer p.s.Close()
		<-time.After(rtoMax)
		p.wantInputs("what has come is not sent again")
		p.made(1, 999)
		p.control(ssmwire.ChannelClosed, `{"Output":""}`)
		if _, err := io.ReadAll(p.s); !errors.Is(err, errResent) {
			t.Errorf("%v, want %v", err, errResent)
		}
	})
}

// made sends a message of data that the agent made at a time of its own.
func (p *script) made(sequence, ms int64) { p.madeOf(sequence, ms, []byte("x")) }

func (p *script) madeOf(sequence, ms int64, data []byte) {
	f := ssmwire.Frame{Type: ssmwire.Output, Created: ms, Sequence: sequence, PayloadType: ssmwire.PayloadData, Payload: data}
	p.in <- f.Append(nil)
}

// A target that sends and closes, while the WebSockets of the client or of the agent end:
// all has come, or there is an error. An agent that is away until it has given up can't
// be seen; this one comes back before.
func TestPropertyOfTheEnd(t *testing.T) {
	n := schedules(t, 120, 60)
	whole, ended := 0, 0
	for seed := uint64(1); seed <= uint64(n); seed++ {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 9))
			down := stream(2, r.IntN(60_000))
			f := ssmgw.Faults{Seed: seed, Delay: time.Duration(r.IntN(80)) * time.Millisecond, CloseAfter: 2000 + r.Int64N(40_000), Closes: 1 + r.IntN(3)}
			late := time.Duration(r.IntN(2000)) * time.Millisecond
			agent := ssmgw.Agent{Sleep: time.Millisecond}
			quiet := false
			switch r.IntN(5) {
			case 0:
				f.CloseAfter = 0
				fallthrough
			case 1:
				f.AwayAfter, f.Away = 1000+r.Int64N(60_000), time.Duration(10+r.IntN(890))*time.Millisecond
				agent.Sleep = time.Duration(r.IntN(2)) * time.Millisecond
			case 2:
				f.CloseAfter, quiet = 0, true
				f.Delay *= 4
				agent.Sleep = time.Duration(r.IntN(3)) * time.Millisecond
			}
			b := &bench{t: t, gw: &ssmgw.Gateway{Faults: f, Agent: agent}, target: func(c net.Conn) { c.Write(down); c.Close() }}
			b.late = func() { <-time.After(late) }
			defer b.gw.Close()
			s, err := b.start(t.Context(), "AWS-StartSSHSession", nil)
			if err != nil {
				ended++
				return
			}
			defer s.Close()
			switch got, err := io.ReadAll(s); {
			case err != nil && quiet:
				t.Errorf("seed %d, %+v: %v, where nothing was lost", seed, f, err)
			case err != nil:
				ended++
			case string(got) != string(down):
				t.Errorf("seed %d, %+v, resumed after %v: %d of %d bytes, and an end that looks like the target's", seed, f, late, len(got), len(down))
			default:
				whole++
			}
		})
	}
	t.Logf("of %d schedules %d came whole, and %d ended with an error", n, whole, ended)
}
