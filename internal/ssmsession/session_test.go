package ssmsession

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/adit-ssh/adit/internal/ssmwire"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// AWS's plugin keeps silent then, and one lost ack ends the download.
func TestDuplicatesAreAckedAgain(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		p.output(2, ssmwire.PayloadData, "once")
		p.wantAcks("first time", 2)
		p.output(2, ssmwire.PayloadData, "once")
		p.output(0, ssmwire.PayloadHandshakeRequest, greeting)
		p.wantAcks("again", 2, 0)
		p.output(3, ssmwire.PayloadData, " more")
		p.wantRead("no duplicate", "once more")
	})
}

func TestReorder(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		p.output(4, ssmwire.PayloadData, "c")
		p.output(3, ssmwire.PayloadData, "b")
		p.output(5, 99, "not known")
		p.wantAcks("kept, so acked", 4, 3, 5)
		p.output(2, ssmwire.PayloadData, "a")
		p.output(6, ssmwire.PayloadData, "d")
		p.wantRead("in order", "abcd")
	})
}

func TestBadFramesAreNotAcked(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		f := ssmwire.Frame{Type: ssmwire.Output, Created: 1, Sequence: 2, PayloadType: ssmwire.PayloadData, Payload: []byte("good")}
		b := f.Append(nil)
		b[len(b)-1] ^= 1
		p.in <- b
		p.in <- []byte("{}")
		p.in <- nil
		p.control("from_the_future", "?")
		p.wantAcks("bad ones")
		p.in <- f.Append(nil)
		p.wantAcks("the good one", 2)
		p.wantRead("the good one", "good")
	})
}

func TestHostileGateway(t *testing.T) {
	t.Run("bad frames for ever", func(t *testing.T) {
		scripted(t, Options{}, func(p *script) {
			for range maxBadFrames {
				p.in <- []byte("nonsense")
			}
			_, err := p.s.Read(make([]byte, 1))
			if e, ok := errors.AsType[*ProtocolError](err); !ok {
				t.Errorf("%v, want a ProtocolError", e)
			}
		})
	})
	t.Run("far ahead", func(t *testing.T) {
		scripted(t, Options{}, func(p *script) {
			p.output(2+reorderAhead+1, ssmwire.PayloadData, "x")
			p.output(1<<62, ssmwire.PayloadData, "x")
			p.wantAcks("too far")
		})
	})
	t.Run("much behind a gap", func(t *testing.T) {
		scripted(t, Options{}, func(p *script) {
			big := strings.Repeat("x", 64<<10)
			for i := range int64(200) {
				p.output(3+i, ssmwire.PayloadData, big)
			}
			if got := len(p.acks()); got < 60 || got > reorderLimit/len(big) {
				t.Errorf("%d messages of 64 KiB kept, want at most %d", got, reorderLimit/len(big))
			}
		})
	})
	t.Run("nobody reads", func(t *testing.T) {
		scripted(t, Options{}, func(p *script) {
			big := strings.Repeat("x", 64<<10)
			for i := range int64(300) {
				p.output(2+i, ssmwire.PayloadData, big)
			}
			if got := len(p.acks()); got > receiveLimit/len(big)+1 {
				t.Errorf("%d messages of 64 KiB taken while nobody reads, want at most %d", got, receiveLimit/len(big)+1)
			}
			if !p.s.isBlocked() {
				t.Error("Blocked is false")
			}
			p.wantRead("all of it", strings.Repeat(big, 300))
		})
	})
	t.Run("giant payload", func(t *testing.T) {
		scripted(t, Options{}, func(p *script) {
			p.output(2, ssmwire.PayloadData, strings.Repeat("x", maxPayload+1))
			p.wantAcks("giant")
		})
	})
	t.Run("acks of what was never sent", func(t *testing.T) {
		scripted(t, Options{}, func(p *script) {
			for _, n := range []int64{0, 1, 1 << 62} {
				p.ack(n)
			}
			p.control(ssmwire.Acknowledge, "nonsense")
			p.s.Write([]byte("x"))
			p.wantInputs("after them", 1)
		})
	})
}

// Nothing that is written may be lost for want of a window.
func TestWriterWaits(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		p.s.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := p.s.Write(make([]byte, 10<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > windowFirst+queueLimit {
			t.Errorf("wrote %d, %v without an ack", n, err)
		}
		bytes := 0
		for _, f := range p.take() {
			bytes += len(f.Payload)
		}
		if bytes > windowFirst {
			t.Errorf("%d bytes on their way, want at most %d", bytes, windowFirst)
		}
	})
}

func TestFastRetransmit(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		p.s.Write(make([]byte, 8*chunkLeast))
		p.wantInputs("all at once", 1, 2, 3, 4, 5, 6, 7, 8)
		p.ack(1)
		p.ack(3)
		p.ack(4)
		p.wantInputs("two later ones arrived: no proof yet")
		p.ack(5)
		p.wantInputs("three later ones arrived", 2)
	})
}

func TestTimeoutBacksOff(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		p.s.Write([]byte("x"))
		p.wantInputs("at once", 1)
		began := time.Now()
		var at []time.Duration
		for len(at) < 5 {
			<-time.After(10 * time.Millisecond)
			if len(p.inputs()) > 0 {
				at = append(at, time.Since(began).Round(100*time.Millisecond))
			}
		}
		for i, want := range []time.Duration{200, 600, 1400, 3000, 5000} {
			if at[i] != want*time.Millisecond {
				t.Errorf("retransmission %d after %v, want %v", i, at[i], want*time.Millisecond)
			}
		}
		p.ack(1)
		p.take()
		<-time.After(10 * time.Second)
		p.wantInputs("after its ack")
	})
}

func TestStalled(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		began := time.Now()
		p.s.Write([]byte("x"))
		_, err := p.s.Read(make([]byte, 1))
		if e, ok := errors.AsType[*StalledError](err); !ok || time.Since(began) != stallTimeout {
			t.Errorf("%v (%v) after %v", err, e, time.Since(began))
		}
	})
}

func TestResume(t *testing.T) {
	for _, c := range []struct {
		name    string
		fail    time.Duration // how long Connect fails
		err     error
		want    string
		atLeast time.Duration
	}{
		{"a while", time.Minute, errors.New("no credentials"), "", 0},
		{"too long", time.Hour, errors.New("no credentials"), "no credentials", resumeFor},
		{"over", time.Hour, ErrOver, "the session is over", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, second := newScript(t), newScript(t)
				var gone time.Time
				tries := 0
				p.begin(Options{Connect: func(_ context.Context, again bool, _ func() bool) (Messages, error) {
					if !again {
						return p, nil
					}
					if tries++; time.Since(gone) < c.fail {
						return nil, c.err
					}
					return second, nil
				}})
				defer p.s.Close()
				p.s.Write([]byte("in flight"))
				p.take()
				gone = time.Now()
				p.Close()
				second.s = p.s
				if c.want == "" {
					<-time.After(2 * c.fail)
					got := second.inputs()
					slices.Sort(got)
					if len(got) < 5 || got[0] != 1 || got[len(got)-1] != 1 {
						t.Errorf("on the new WebSocket: messages %v, want the one that was in flight, until it is acked", got)
					}
					return
				}
				_, err := p.s.Read(make([]byte, 1))
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				if took := time.Since(gone); took < c.atLeast || took > c.atLeast+time.Minute {
					t.Errorf("gave up after %v, want %v", took, c.atLeast)
				}
				if tries > 60 {
					t.Errorf("%d attempts", tries)
				}
			})
		})
	}
}

// A reader that lets the session wait for minutes has lost nothing, and the agent
// is not held to be dead.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := stream(2, 20<<20)
		b := &bench{t: t, gw: &ssmgw.Gateway{Agent: ssmgw.Agent{Payload: 16 << 10}}, target: exchangeTarget(down, true)}
		defer b.gw.Close()
		s, err := b.start(t.Context(), "AWS-StartSSHSession", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.Write(make([]byte, 8))
		<-time.After(20 * time.Minute)
		got := make([]byte, len(down))
		s.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, down) {
			t.Errorf("after 20 minutes: %v", err)
		}
	})
}

func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		far := make(chan net.Conn, 1)
		b := &bench{t: t, gw: &ssmgw.Gateway{}}
		b.gw.Agent.Dial = func(context.Context, string) (net.Conn, error) {
			near, other := testnet.Pipe(testnet.Options{})
			far <- other
			return near, nil
		}
		s, err := b.start(t.Context(), "AWS-StartSSHSession", nil)
		if err != nil {
			return nil, nil, nil, err
		}
		target := <-far
		return s, target, func() { s.Close(); target.Close(); b.gw.Close() }, nil
	})
}
