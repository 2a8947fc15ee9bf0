package ssmsession

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// A gateway that takes each WebSocket and ends it at once must not be asked for
// ever, and nobody may wait for it for ever.
func TestGatewayThatEndsEveryWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newScript(t)
		tries := 0
		p.begin(Options{Connect: func(_ context.Context, again bool, _ func() bool) (Messages, error) {
			if !again {
				return p, nil
			}
			tries++
			next := newScript(t)
			next.why = errors.New("message is too big for us")
			next.Close()
			return next, nil
		}})
		defer p.s.Close()
		began := time.Now()
		p.Close()
		_, err := p.s.Read(make([]byte, 1))
		if err == nil || !strings.Contains(err.Error(), "has ended each data channel at once: message is too big for us") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took < resumeFor || took > resumeFor+time.Minute || tries > 60 {
			t.Errorf("gave up after %v and %d attempts, want %v", took, tries, resumeFor)
		}
	})
}

// An agent that never greets is not waited for for ever, whatever the context.
func TestStartHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newScript(t)
		began := time.Now()
		_, err := Start(context.Background(), Options{Connect: func(context.Context, bool, func() bool) (Messages, error) { return p, nil }})
		if err == nil || !strings.Contains(err.Error(), "the agent does not answer: no answer within 1m0s") || time.Since(began) < startLimit {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Somebody whose login has expired is told before the session is given up, once,
// and not of outages that nobody notices.
func TestWaiting(t *testing.T) {
	for _, c := range []struct {
		fail time.Duration
		told int
	}{{5 * time.Second, 0}, {time.Minute, 1}} {
		synctest.Test(t, func(t *testing.T) {
			p, second := newScript(t), newScript(t)
			expired := errors.New("expired")
			var gone time.Time
			told := 0
			p.begin(Options{
				Connect: func(_ context.Context, again bool, _ func() bool) (Messages, error) {
					switch {
					case !again:
						return p, nil
					case time.Since(gone) < c.fail:
						return nil, expired
					}
					return second, nil
				},
				Waiting: func(err error) {
					told++
					if !errors.Is(err, expired) || time.Since(gone) < tellAfter {
						t.Errorf("told of %v after %v", err, time.Since(gone))
					}
				},
			})
			defer p.s.Close()
			gone = time.Now()
			p.Close()
			<-time.After(2 * time.Minute)
			if told != c.told {
				t.Errorf("an outage of %v was told %d times, want %d", c.fail, told, c.told)
			}
		})
	}
}

// What the gateway is waited for between StartSession's answer and the target's
// first byte: its greeting, and one round trip for the handshake.
func TestFirstByte(t *testing.T) {
	for _, trip := range []time.Duration{4 * time.Millisecond, 80 * time.Millisecond} {
		for _, document := range []string{"AWS-StartSSHSession", "AWS-StartPortForwardingSession"} {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{t: t, gw: &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: trip / 2}}, target: func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n"); io.Copy(io.Discard, c) }}
				b.options.Raw = true
				defer b.gw.Close()
				began := time.Now()
				s, err := b.start(t.Context(), document, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if _, err := s.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 3*trip {
					t.Errorf("%s: the first byte took %v, %.1f round trips of %v; want 3 at most", document, took, float64(took)/float64(trip), trip)
				}
			})
		}
	}
}

// Who closes a session a second time, as a program that ends, does not return before
// AWS knows.
func TestCloseTwice(t *testing.T) {
	terminated := make(chan struct{})
	slow := func(context.Context) error {
		<-time.After(300 * time.Millisecond)
		close(terminated)
		return nil
	}
	scripted(t, Options{Terminate: slow}, func(p *script) {
		go p.s.Close()
		synctest.Wait()
		p.s.Close()
		select {
		case <-terminated:
		default:
			t.Error("the second Close returned before the session was terminated")
		}
	})
}
