package main

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// idlePool has members with so many channels.
func idlePool(channels ...int) *pool {
	p := &pool{changed: make(chan struct{})}
	for i := range channels {
		p.members = append(p.members, &member{channels: func() int { return channels[i] }})
	}
	p.first = p.members[0]
	return p
}

func (p *pool) picks(n int) (picked []int) {
	for range n {
		picked = append(picked, slices.Index(p.members, p.pick(context.Background())))
	}
	return picked
}

func TestPoolSpreads(t *testing.T) {
	p := idlePool(0, 0, 0)
	got := p.picks(6)
	if slices.Sort(got); !slices.Equal(got, []int{0, 0, 1, 1, 2, 2}) {
		t.Errorf("channels that are opened at once went to %v, want two to each", got)
	}
	channels := []int{5, 4, 9}
	p = idlePool(channels...)
	if got := p.picks(4); !slices.Equal(got, []int{1, 1, 1, 1}) {
		t.Errorf("picked %v, want the one with the fewest", got)
	}
	channels[1] = 20
	if got := p.picks(1); !slices.Equal(got, []int{0}) {
		t.Errorf("picked %v once the other had more", got)
	}
}

// At first a connection waits for one of its own; one that has none to wait for, or
// has waited long enough, does not.
func TestPoolWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := idlePool(0)
		p.coming = 1
		p.pick(t.Context())
		began := time.Now()
		go func() {
			<-time.After(time.Second)
			p.change(func() { p.coming, p.members = 0, append(p.members, &member{channels: func() int { return 0 }}) })
		}()
		if m := p.pick(t.Context()); m == p.first || time.Since(began) != time.Second {
			t.Errorf("picked the first: %v, after %v; want the one that came", m == p.first, time.Since(began))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := idlePool(1)
		p.coming = 1
		began := time.Now()
		if m := p.pick(t.Context()); m != p.first || time.Since(began) != poolPatience {
			t.Errorf("waited %v for one that does not come, want %v", time.Since(began), poolPatience)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		if p.pick(ctx); time.Since(began) > 0 {
			t.Errorf("waited %v for somebody who has gone", time.Since(began))
		}
	})
}
