package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/adit-ssh/adit/dial/ssm"
)

// maxSessions is how many sessions one program has to a node at most: each is a
// process there.
const maxSessions = 16

// spread is the sessions of --local. Each connection goes over the one that has the
// fewest.
type spread struct {
	tunnels []*ssm.Tunnel // immutable

	mu   sync.Mutex
	busy []int // guarded by mu: connections of each
	last int   // guarded by mu: whose turn it was
}

// startSpread starts all sessions. The first must work; of others that don't, the
// person is told.
func (a *ssmArgs) startSpread(ctx context.Context, s *ssm.Service) (*spread, error) {
	first, err := s.Tunnel(ctx, a.options)
	if err != nil {
		return nil, err
	}
	all := []*ssm.Tunnel{first}
	if first.Shared() {
		more := make([]*ssm.Tunnel, a.sessions-1)
		errs := make([]error, len(more))
		var starting sync.WaitGroup
		for i := range more {
			starting.Go(func() { more[i], errs[i] = s.Tunnel(ctx, a.options) })
		}
		starting.Wait()
		for i, t := range more {
			if errs[i] == nil {
				all = append(all, t)
			}
		}
		if missing := len(more) + 1 - len(all); missing > 0 && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "adit: warning: %d of %d sessions are left out: %v\n", missing, a.sessions, errors.Join(errs...))
		}
	}
	return &spread{tunnels: all, busy: make([]int, len(all))}, nil
}

// take chooses a session for a connection, whose end release tells.
func (s *spread) take() (t *ssm.Tunnel, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := (s.last + 1) % len(s.busy)
	for i := range s.busy {
		if next := (best + i) % len(s.busy); s.busy[next] < s.busy[best] {
			best = next
		}
	}
	s.last = best
	s.busy[best]++
	return s.tunnels[best], func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy[best]--
	}
}

// close ends all sessions, together.
func (s *spread) close() {
	var ending sync.WaitGroup
	for _, t := range s.tunnels {
		ending.Go(func() { t.Close() })
	}
	ending.Wait()
}
