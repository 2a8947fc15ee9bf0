package ssm

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

var errNoLonger = errors.New("nobody wants it any more")

// What AWS starts for somebody who has gone is ended again.
func TestLateAnswer(t *testing.T) {
	g := &ssmgw.Gateway{Slow: map[string]time.Duration{"ssm:StartSession": 100 * time.Millisecond}}
	s := serve(t, g)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		g.Await(t, "StartSession", 1)
		cancel(errNoLonger)
	}()
	if c, err := s.Dial(ctx, Options{Target: "i-0123456789abcdef0"}); !errors.Is(err, errNoLonger) {
		t.Errorf("%v, %v, want %v", c, err, errNoLonger)
	}
	if events := g.Events(); g.Live() != 0 || !slices.Contains(events, "TerminateSession") || slices.Contains(events, "open") {
		t.Errorf("%d sessions live on: %q", g.Live(), events)
	}
}

// A request that has not reached AWS is not waited for.
func TestNoLateAnswerWithoutAConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	var asked time.Time
	go func() {
		c, err := l.Accept() // and TLS gets no answer
		if err == nil {
			defer c.Close()
			c.Read(make([]byte, 1))
		}
		asked = time.Now()
		cancel(errNoLonger)
	}()
	serve(t, &ssmgw.Gateway{})
	s, err := Load(t.Context(), Config{EndpointSSM: "https://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := s.Dial(ctx, Options{Target: "i-0123456789abcdef0"}); err == nil {
		t.Errorf("%v", c)
	}
	if took := time.Since(asked); took >= lateAnswer {
		t.Errorf("it took %v", took)
	}
}
