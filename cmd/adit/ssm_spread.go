package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/adit-ssh/adit/dial/ssm"
)

// maxSessions is how many sessions one program has to a node at most: each is a
// process there.
const maxSessions = 16

// spread is the sessions of --local. Each connection goes over the one that has the
// fewest. One that has ended is replaced by the next connection that takes it.
//
// Goroutines: one for each session that did not start at first, which tries again. close
// waits for them.
type spread struct {
	// Immutable.
	a        *ssmArgs
	service  *ssm.Service
	lifetime context.Context
	stop     context.CancelFunc

	mu       sync.Mutex
	sessions []*spreadSession // guarded by mu, as all below
	last     *spreadSession   // whose turn it was

	trying sync.WaitGroup
}

// spreadSession is one of them.
type spreadSession struct {
	*ssm.Tunnel
	busy int // connections; guarded by spread.mu
}

// startSpread starts all sessions. The first must work; others that don't are tried again,
// unless AWS refuses them for good.
func (a *ssmArgs) startSpread(ctx context.Context, s *ssm.Service) (*spread, error) {
	first, err := s.Tunnel(ctx, a.options)
	if err != nil {
		return nil, err
	}
	p := &spread{a: a, service: s, sessions: []*spreadSession{{Tunnel: first}}}
	p.lifetime, p.stop = context.WithCancel(ctx)
	if !first.Shared() {
		return p, nil // each connection has one of its own
	}
	var starting sync.WaitGroup
	for n := 2; n <= a.sessions; n++ {
		starting.Add(1)
		p.trying.Go(func() { p.add(n, sync.OnceFunc(starting.Done)) })
	}
	starting.Wait()
	return p, nil
}

// add starts one more session, for as long as it takes. tried is called after the first
// attempt.
func (p *spread) add(number int, tried func()) {
	defer tried()
	for pause, told := poolRetry, false; ; pause = min(2*pause, poolRetryMost) {
		t, err := p.service.Tunnel(p.lifetime, p.a.options)
		switch {
		case err == nil:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.sessions = append(p.sessions, &spreadSession{Tunnel: t})
			return
		case p.lifetime.Err() != nil:
			return
		case !ssm.Temporary(err):
			fmt.Fprintf(os.Stderr, "adit: warning: session %d of %d is left out: %v\n", number, p.a.sessions, err)
			return
		case !told:
			told = true
			fmt.Fprintf(os.Stderr, "adit: warning: session %d of %d is not there, and is tried again: %v\n", number, p.a.sessions, err)
		}
		tried()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.lifetime.Done():
			timer.Stop()
			return
		}
	}
}

// Dial opens a connection over one of the sessions: another one if the first that it
// takes has ended and can't be replaced.
func (p *spread) Dial(ctx context.Context) (net.Conn, error) {
	var failed []*spreadSession
	for {
		s := p.take(failed)
		c, err := s.Dial(ctx)
		if err == nil {
			return &spreadConn{c, sync.OnceFunc(func() { p.release(s) })}, nil
		}
		p.release(s)
		if failed = append(failed, s); ctx.Err() != nil || !p.has(failed) {
			return nil, err
		}
	}
}

// has reports whether there are sessions other than these.
func (p *spread) has(failed []*spreadSession) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions) > len(failed)
}

// take chooses a session for a connection, which is not one of those that failed.
func (p *spread) take(failed []*spreadSession) (best *spreadSession) {
	p.mu.Lock()
	defer p.mu.Unlock()
	after := slices.Index(p.sessions, p.last) + 1
	for i := range p.sessions {
		s := p.sessions[(after+i)%len(p.sessions)]
		if !slices.Contains(failed, s) && (best == nil || s.busy < best.busy) {
			best = s
		}
	}
	p.last = best
	best.busy++
	return best
}

func (p *spread) release(s *spreadSession) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.busy--
}

// spreadConn tells its session that it has ended.
type spreadConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *spreadConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// close ends all sessions, together.
func (p *spread) close() {
	p.stop()
	p.trying.Wait()
	p.mu.Lock()
	sessions := p.sessions
	p.mu.Unlock()
	var ending sync.WaitGroup
	for _, s := range sessions {
		ending.Go(func() { s.Close() })
	}
	ending.Wait()
}
