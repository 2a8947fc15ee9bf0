package ssmsession

import "time"

// Limits of the retransmission timeout. RFC 6298 says 1 s for the first two; an
// agent that has not reached its target yet leaves our first message unanswered,
// and a person waits for that.
const (
	rtoFirst = time.Second
	rtoMin   = 200 * time.Millisecond
	rtoMax   = 2 * time.Second
)

// clockGrain is G of RFC 6298.
const clockGrain = 10 * time.Millisecond

// rtt estimates how long an acknowledgement takes (RFC 6298). The zero value has
// seen none.
type rtt struct {
	smoothed, variance time.Duration
	least              time.Duration // of all samples
	backoff            int           // doublings since the last sample
}

// sample takes in one measurement, of a message that was sent once only (Karn).
func (r *rtt) sample(d time.Duration) {
	d = max(d, time.Microsecond)
	r.backoff = 0
	if r.smoothed == 0 {
		r.smoothed, r.variance, r.least = d, d/2, d
		return
	}
	r.variance += ((r.smoothed - d).Abs() - r.variance) / 4
	r.smoothed += (d - r.smoothed) / 8
	r.least = min(r.least, d)
}

// timeout is how long to wait for an acknowledgement.
func (r *rtt) timeout() time.Duration {
	rto := rtoFirst
	if r.smoothed != 0 {
		rto = max(rtoMin, r.smoothed+max(clockGrain, 4*r.variance))
	}
	return min(rtoMax, rto<<min(r.backoff, 8))
}

// expired doubles the timeout until the next sample.
func (r *rtt) expired() { r.backoff = min(r.backoff+1, 8) }
