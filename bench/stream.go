//go:build linux

package main

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"time"
)

// direction is up, from us to the target, or down.
type direction string

const (
	up   direction = "up"
	down direction = "down"
)

// streamWork moves size bytes over one -L stream at no delay.
func streamWork(cipher string, size int, d direction) work {
	short, _, _ := strings.Cut(cipher, "@")
	row := "-L " + string(d) + " " + short
	return work{name: row, run: func(e *env, c contender, r *results) error {
		cl, first, end, err := e.stream(c, c.server.port, cipher)
		if err != nil {
			return err
		}
		defer end()
		// A first piece finds buffers and windows grown.
		if err := move(first, d, int64(size)/16); err != nil {
			return err
		}
		conn, err := cl.dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		client, server, began := usageOf(cl.cmd.Process.Pid), usageOf(c.server.pid), time.Now()
		if err := move(conn, d, int64(size)); err != nil {
			return err
		}
		took := time.Since(began).Seconds()
		gib := float64(size) / (1 << 30)
		mine := (usageOf(cl.cmd.Process.Pid).cpu - client.cpu) / gib
		theirs := (usageOf(c.server.pid).cpu - server.cpu) / gib
		r.more(row, "MiB/s", c.name, gib*1024/took)
		r.less(row, "client s/GiB", c.name, mine)
		r.less(row, "server s/GiB", c.name, theirs)
		r.less(row, "both s/GiB", c.name, mine+theirs)
		return nil
	}}
}

// move moves size bytes and waits until they have arrived.
func move(c *net.TCPConn, d direction, size int64) error {
	return moveOf(c, d, opSource, patternContents(), size)
}

// moveOf moves size bytes of contents, which the target sends when asked for op.
func moveOf(c *net.TCPConn, d direction, op byte, of contents, size int64) error {
	if d == down {
		if err := ask(c, op, size); err != nil {
			return err
		}
		return discard(c, size)
	}
	if err := ask(c, opSink, size); err != nil {
		return err
	}
	if err := produce(c, of, size); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// slowStreamWork counts what one -L stream carries over a longLine in its first
// seconds, growth of windows included.
func slowStreamWork(d direction, seconds time.Duration) work {
	row := "-L " + string(d) + " at 100 ms"
	return work{name: row, run: func(e *env, c contender, r *results) error {
		_, conn, end, err := e.stream(c, c.server.long, "aes128-gcm@openssh.com")
		if err != nil {
			return err
		}
		defer end()
		total, err := flow(conn, d, time.Now().Add(seconds))
		if err != nil {
			return err
		}
		r.more(row, "MiB/s", c.name, float64(total)/(1<<20)/seconds.Seconds())
		return nil
	}}
}

// flow moves data until a moment and returns how much arrived by then.
func flow(c *net.TCPConn, d direction, until time.Time) (total int64, err error) {
	if d == down {
		if err := ask(c, opSource, 1<<50); err != nil {
			return 0, err
		}
		c.SetReadDeadline(until)
		for {
			n, err := discardSome(c)
			if err != nil {
				return total, unlessTimeout(err)
			}
			total += int64(n)
		}
	}
	if _, err := c.Write([]byte{opCount}); err != nil {
		return 0, err
	}
	go produce(c, patternContents(), 1<<50) // ends with the connection
	c.SetReadDeadline(until)
	var b [8]byte
	for {
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return total, unlessTimeout(err)
		}
		total = int64(binary.BigEndian.Uint64(b[:]))
	}
}

func unlessTimeout(err error) error {
	if e, ok := err.(net.Error); ok && e.Timeout() {
		return nil
	}
	return err
}
