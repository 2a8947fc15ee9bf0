package ssmsession

import (
	"testing"
	"time"
)

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
