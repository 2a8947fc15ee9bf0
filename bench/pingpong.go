//go:build linux

package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// thinPingWork measures a ping-pong beside one bulk stream over a thinLine.
func thinPingWork(d direction, seconds time.Duration) work {
	row := "ping beside bulk " + string(d) + ", thin line"
	return work{name: row, run: func(e *env, c contender, r *results) error {
		return e.ping(c, c.server.thin, r, row, d, 1, seconds)
	}}
}

// pingWork measures a ping-pong beside bulk streams at no delay.
func pingWork(d direction, bulk int, seconds time.Duration) work {
	row := fmt.Sprintf("ping beside %d bulk %s", bulk, d)
	return work{name: row, run: func(e *env, c contender, r *results) error {
		return e.ping(c, c.server.port, r, row, d, bulk, seconds)
	}}
}

// ping sends 64 bytes to and fro on one channel, every 5 ms at the most, while
// bulk streams fill the others.
func (e *env) ping(c contender, port int, r *results, row string, d direction, bulk int, seconds time.Duration) error {
	cl, conn, end, err := e.stream(c, port, "aes128-gcm@openssh.com")
	if err != nil {
		return err
	}
	defer end()
	if _, err := conn.Write([]byte{opPing}); err != nil {
		return err
	}
	b := make([]byte, 64)
	trip := func() (time.Duration, error) {
		began := time.Now()
		if _, err := conn.Write(b); err != nil {
			return 0, err
		}
		_, err := io.ReadFull(conn, b)
		return time.Since(began), err
	}
	if _, err := trip(); err != nil {
		return err
	}
	settle := seconds / 2 // for windows and queues to fill
	until := time.Now().Add(settle + seconds)
	var flows sync.WaitGroup
	var carried atomic.Int64
	for range bulk {
		stream, err := cl.dial()
		if err != nil {
			return err
		}
		defer stream.Close()
		flows.Go(func() {
			n, _ := flow(stream, d, until)
			carried.Add(n)
		})
	}
	time.Sleep(settle)
	var trips []float64
	for time.Now().Before(until) {
		t, err := trip()
		if err != nil {
			return err
		}
		trips = append(trips, t.Seconds()*1e3)
		time.Sleep(5*time.Millisecond - t)
	}
	flows.Wait()
	r.less(row, "ms p50", c.name, quantile(trips, 0.5))
	r.less(row, "ms p99", c.name, quantile(trips, 0.99))
	r.more(row, "bulk MiB/s", c.name, float64(carried.Load())/(1<<20)/(settle+seconds).Seconds())
	return nil
}
