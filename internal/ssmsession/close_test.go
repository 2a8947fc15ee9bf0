package ssmsession

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/ssmwire"
)

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
