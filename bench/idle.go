//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// openers is how many channels are opened at once: OpenSSH looks at all channels
// whenever one has something, so one at a time would take it minutes.
const openers = 64

// idleWork opens channels through -D, has one question answered on each and
// leaves them alone. It needs two descriptors a channel here and in the client.
func idleWork(channels int) work {
	return work{name: "idle channels", run: func(e *env, c contender, r *results) error {
		var lim syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
			return err
		}
		n := min(channels, int(lim.Cur)-500)
		row := fmt.Sprintf("%d idle channels over -D", n)
		if c.server == e.adit {
			// A fresh one: what an earlier round used is not given back at once.
			s, end, err := e.startAdit()
			if err != nil {
				return err
			}
			defer end()
			c.server = s
		}
		cl, err := e.forward(c, c.server.port, "-D")
		if err != nil {
			return err
		}
		defer cl.stop()
		var mu sync.Mutex
		var conns []net.Conn // guarded by mu
		defer func() {
			for _, conn := range conns {
				conn.Close()
			}
		}()
		open := func() error {
			conn, err := e.socks(cl.addr)
			if err != nil {
				return err
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			b := make([]byte, 300)
			b[0] = opEcho
			conn.Write(b[:101])
			_, err = io.ReadFull(conn, b)
			return err
		}
		if err := open(); err != nil {
			return err
		}
		client, server, began := usageOf(cl.cmd.Process.Pid), usageOf(c.server.pid), time.Now()
		var left atomic.Int64
		left.Store(int64(n))
		failed := make(chan error, openers)
		var wg sync.WaitGroup
		for range openers {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if err := open(); err != nil {
						failed <- err
						return
					}
				}
			})
		}
		wg.Wait()
		select {
		case err := <-failed:
			return fmt.Errorf("after %d channels: %w", len(conns), err)
		default:
		}
		r.more(row, "open/s", c.name, float64(n)/time.Since(began).Seconds())
		r.less(row, "client KiB", c.name, (usageOf(cl.cmd.Process.Pid).rss-client.rss)/float64(n))
		r.less(row, "server KiB", c.name, (usageOf(c.server.pid).rss-server.rss)/float64(n))
		return nil
	}}
}

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
