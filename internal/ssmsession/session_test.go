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

func TestChunkGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := map[int]int{}
		p := newScript(t)
		p.begin(Options{})
		defer p.s.Close()
		go p.s.Write(make([]byte, 2<<20))
		probes := 0
		for range 300 {
			for _, f := range p.take() {
				if sizes[len(f.Payload)]++; sizes[len(f.Payload)] == 1 && (len(f.Payload) == 4<<10 || len(f.Payload) == 16<<10) {
					probes++
					if more := p.take(); len(more) > 0 {
						t.Errorf("%d messages were sent behind the first of %d bytes", len(more), len(f.Payload))
					}
				}
				p.ack(f.Sequence)
			}
		}
		if sizes[chunkDefault] < 20 || probes != 2 {
			t.Errorf("sizes of messages %v, want most of %d after two probes", sizes, chunkDefault)
		}
	})
}

// A larger message may have arrived, with its ack lost, when the WebSocket ends:
// it is sent again as it was. Only one that the gateway has refused for its size
// is sent in pieces.
func TestProbeThatIsNotAcked(t *testing.T) {
	for _, c := range []struct {
		why  error
		want int
	}{{nil, 4 << 10}, {ErrTooBig, chunkLeast}} {
		synctest.Test(t, func(t *testing.T) {
			p, second := newScript(t), newScript(t)
			p.why = c.why
			p.begin(Options{Connect: func(_ context.Context, again bool, _ func() bool) (Messages, error) {
				if again {
					return second, nil
				}
				return p, nil
			}})
			defer p.s.Close()
			go p.s.Write(make([]byte, 200<<10))
			probe := int64(-1)
			for probe < 0 {
				for _, f := range p.take() {
					if len(f.Payload) > chunkLeast {
						probe = f.Sequence
					} else {
						p.ack(f.Sequence)
					}
				}
			}
			p.take()
			p.Close()
			for _, f := range second.take() {
				if f.Sequence == probe && len(f.Payload) != c.want {
					t.Errorf("after %v: message %d came again with %d bytes, want %d", c.why, probe, len(f.Payload), c.want)
				}
				if f.Sequence != probe && c.why == nil {
					t.Errorf("message %d was sent beside the first of a larger size", f.Sequence)
				}
				second.ack(f.Sequence)
			}
			for _, f := range second.take() {
				if len(f.Payload) > chunkLeast {
					t.Errorf("after %v: a message of %d bytes, want no more such", c.why, len(f.Payload))
				}
			}
		})
	}
}

// Karn: an ack of a message that was sent twice says nothing about the round trip.
func TestKarn(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		smoothed := func() time.Duration {
			p.s.mu.Lock()
			defer p.s.mu.Unlock()
			return p.s.out.rtt.smoothed
		}
		before := smoothed()
		p.s.Write([]byte("x"))
		<-time.After(300 * time.Millisecond)
		p.wantInputs("sent, and again", 1, 1)
		p.ack(1)
		p.take()
		if got := smoothed(); got != before {
			t.Errorf("round trip %v after the ack of a message that was sent twice, want %v", got, before)
		}
		p.s.Write([]byte("y"))
		p.take()
		<-time.After(50 * time.Millisecond)
		p.ack(2)
		p.take()
		if got := smoothed(); got == before {
			t.Error("no sample was taken of a message that was sent once")
		}
	})
}

func TestClosedByGateway(t *testing.T) {
	scripted(t, Options{}, func(p *script) {
		p.output(2, ssmwire.PayloadData, "last words")
		p.control(ssmwire.ChannelClosed, `{"Output":""}`)
		if b, err := io.ReadAll(p.s); string(b) != "last words" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		if _, err := p.s.Write([]byte("x")); err == nil {
			t.Error("wrote to a session that has ended")
		}
	})
	scripted(t, Options{}, func(p *script) {
		p.output(2, ssmwire.PayloadData, "words")
		p.control(ssmwire.ChannelClosed, `{"Output":"no more money"}`)
		b, err := io.ReadAll(p.s)
		if e, ok := errors.AsType[*ClosedError](err); string(b) != "words" || !ok || e.Output != "no more money" {
			t.Errorf("%q, %v", b, err)
		}
	})
	scripted(t, Options{}, func(p *script) {
		p.output(3, ssmwire.PayloadData, "behind a gap")
		p.control(ssmwire.ChannelClosed, `{"Output":""}`)
		if b, err := io.ReadAll(p.s); len(b) > 0 || !errors.Is(err, errTruncated) {
			t.Errorf("%q, %v; a gap is no proper end", b, err)
		}
	})
}

func TestCloseEndsTheSession(t *testing.T) {
	needless := func(context.Context) error {
		t.Error("the API was called, though the agent knows")
		return nil
	}
	scripted(t, Options{Terminate: needless}, func(p *script) {
		p.s.Write([]byte("bye"))
		p.take()
		done := make(chan error, 1)
		go func() { done <- p.s.Close() }()
		p.wantInputs("the flag", 2)
		p.ack(1)
		p.ack(2)
		began := time.Now()
		if err := <-done; err != nil || time.Since(began) > 0 {
			t.Errorf("close: %v after %v", err, time.Since(began))
		}
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	terminated := 0
	scripted(t, Options{Terminate: func(context.Context) error { terminated++; return nil }}, func(p *script) {
		p.s.Write([]byte("bye"))
		began := time.Now()
		if err := p.s.Close(); err == nil || !strings.Contains(err.Error(), "3 bytes") {
			t.Errorf("close: %v, want one that tells of the 3 bytes", err)
		}
		if took := time.Since(began); took != closeQuiet || took > 800*time.Millisecond || terminated != 1 {
			t.Errorf("took %v, terminated %d times", took, terminated)
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

func TestRTT(t *testing.T) {
	var r rtt
	if got := r.timeout(); got != rtoFirst {
		t.Errorf("without a sample %v, want %v", got, rtoFirst)
	}
	r.sample(500 * time.Millisecond)
	if got, want := r.timeout(), 1500*time.Millisecond; got != want { // RFC 6298: R + 4 * R/2
		t.Errorf("after one sample %v, want %v", got, want)
	}
	for range 100 {
		r.sample(4 * time.Millisecond)
	}
	if got := r.timeout(); got != rtoMin {
		t.Errorf("with 4 ms %v, want %v", got, rtoMin)
	}
	for range 50 {
		r.expired()
	}
	if got := r.timeout(); got != rtoMax {
		t.Errorf("after many timeouts %v, want %v", got, rtoMax)
	}
	r.sample(4 * time.Millisecond)
	if got := r.timeout(); got != rtoMin {
		t.Errorf("after a sample %v, want %v", got, rtoMin)
	}
}

// What has not ended by the other side's doing is ended by the API: AWS would keep the
// agent's connection to the target for 20 minutes.
func TestTerminatesWhatItGivesUp(t *testing.T) {
	counting := func(n *int) func(context.Context) error {
		return func(context.Context) error { *n++; return nil }
	}
	t.Run("no WebSocket", func(t *testing.T) {
		n, refused := 0, errors.New("403")
		_, err := Start(t.Context(), Options{Terminate: counting(&n), Connect: func(context.Context, bool, func() bool) (Messages, error) { return nil, refused }})
		if !errors.Is(err, refused) || n != 1 {
			t.Errorf("%v, terminated %d times", err, n)
		}
	})
	for _, c := range []struct {
		name string
		end  func(p *script)
		want int
	}{
		{"stalled", func(p *script) { p.s.Write([]byte("x")) }, 1},
		{"nonsense", func(p *script) { p.control(ssmwire.ChannelClosed, "nonsense") }, 1},
		{"closed by the gateway", func(p *script) { p.control(ssmwire.ChannelClosed, `{"Output":"x"}`) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			scripted(t, Options{Terminate: counting(&n)}, func(p *script) {
				c.end(p)
				if _, err := p.s.Read(make([]byte, 1)); err == nil {
					t.Error("it goes on")
				}
				p.s.Close()
			})
			if n != c.want {
				t.Errorf("terminated %d times, want %d", n, c.want)
			}
		})
	}
}
