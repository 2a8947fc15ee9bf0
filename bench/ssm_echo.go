//go:build linux

package main

import (
	"fmt"
	"io"
	"time"
)

// ssmEchoWork sends one byte to and fro through `adit ssm`, one at a time, and notes
// by how much that takes longer than the gateway's round trip.
func ssmEchoWork(trip, seconds time.Duration) work {
	row := fmt.Sprintf("ssm echo at %v", trip)
	return work{name: row, run: func(e *env, c contender, r *results) error {
		if c.name != "adit+sshd" {
			return errUnable
		}
		a, err := e.startSSM(row, 1<<10, trip, 0)
		if err != nil {
			return err
		}
		defer a.end()
		if _, err := a.in.Write([]byte{opPing}); err != nil {
			return err
		}
		b := make([]byte, 1)
		link := linkTrip(trip)
		var trips []float64
		for until := time.Now().Add(seconds); time.Now().Before(until); {
			began := time.Now()
			if _, err := a.in.Write(b); err != nil {
				return err
			}
			if _, err := io.ReadFull(a.out, b); err != nil {
				return err
			}
			trips = append(trips, (time.Since(began)-link).Seconds()*1e3)
		}
		trips = trips[1:] // the session's start
		r.less(row, "ms more, p50", c.name, quantile(trips, 0.5))
		r.less(row, "ms more, p99", c.name, quantile(trips, 0.99))
		return nil
	}}
}

// linkTrip is what a round trip takes that the gateway delays by a timer each way:
// timers are late, by a quarter of a millisecond each where the system is.
func linkTrip(trip time.Duration) time.Duration {
	if trip == 0 {
		return 0
	}
	var late []float64
	for range 100 {
		due := time.Now().Add(trip / 2)
		rang := make(chan time.Duration, 1)
		time.AfterFunc(trip/2, func() { rang <- time.Since(due) })
		late = append(late, (<-rang).Seconds())
	}
	return trip + time.Duration(2*quantile(late, 0.5)*float64(time.Second))
}
