//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// socks opens a SOCKS5 connection to the target.
func (e *env) socks(proxy string) (net.Conn, error) {
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 10)
	c.Write([]byte{5, 1, 0})
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		c.Close()
		return nil, err
	}
	c.Write([]byte{5, 1, 0, 1, 127, 0, 0, 1, byte(e.target >> 8), byte(e.target)})
	if _, err := io.ReadFull(c, b); err != nil || b[1] != 0 {
		c.Close()
		return nil, fmt.Errorf("SOCKS answer %d: %w", b[1], err)
	}
	return c, nil
}

// request is a connection of one question of 100 bytes and its answer of 300,
// to the end.
func (e *env) request(proxy string, b []byte) error {
	c, err := e.socks(proxy)
	if err != nil {
		return err
	}
	defer c.Close()
	b[0] = opAnswer
	if _, err := c.Write(b[:101]); err != nil {
		return err
	}
	n, err := io.ReadFull(c, b[:301])
	if err == io.ErrUnexpectedEOF && n == 300 {
		return nil
	}
	return fmt.Errorf("an answer of %d bytes: %w", n, err)
}

// requestsWork makes short connections through -D, atOnce of them at a time.
func requestsWork(atOnce int, seconds time.Duration) work {
	row := fmt.Sprintf("-D, %d at once", atOnce)
	return work{name: row, run: func(e *env, c contender, r *results) error {
		cl, err := e.forward(c, c.server.port, "-D")
		if err != nil {
			return err
		}
		defer cl.stop()
		var wg sync.WaitGroup
		var mu sync.Mutex
		count, failed := 0, error(nil)
		before, began := usageOf(cl.cmd.Process.Pid), time.Now()
		for range atOnce {
			wg.Go(func() {
				b := make([]byte, 301)
				for time.Since(began) < seconds {
					err := e.request(cl.addr, b)
					mu.Lock()
					count++
					if err != nil {
						failed = err
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		if failed != nil {
			return failed
		}
		r.more(row, "requests/s", c.name, float64(count)/time.Since(began).Seconds())
		r.less(row, "client us each", c.name, (usageOf(cl.cmd.Process.Pid).cpu-before.cpu)/float64(count)*1e6)
		return nil
	}}
}
