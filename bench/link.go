//go:build linux

package main

import (
	"net"
	"strconv"
	"sync"
	"time"
)

// line is a way to a server with a delay each way and, if bandwidth is not 0, so
// many bytes a second each way. What the line does not carry yet stands in the
// kernel's buffers before it, as in a router's queue.
type line struct {
	delay     time.Duration
	bandwidth float64
}

var (
	// longLine has 100 ms round trip, farLine a second, thinLine 20 ms and
	// 12 MiB/s.
	longLine = line{delay: 50 * time.Millisecond}
	farLine  = line{delay: 500 * time.Millisecond}
	thinLine = line{delay: 10 * time.Millisecond, bandwidth: 12 << 20}
)

const (
	// thinQueue is what a router before a thin line holds, in bytes.
	thinQueue = 256 << 10
	// pieceSize is the unit that is delayed.
	pieceSize = 64 << 10
)

// through returns the port of a proxy to port over the line.
func (e *env) through(l line, port int) (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	e.listeners = append(e.listeners, ln)
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go l.carry(c.(*net.TCPConn), port)
		}
	}()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func (l line) carry(c *net.TCPConn, port int) {
	defer c.Close()
	out := l.read(c)    // what the client sends with its last ACK of TCP's handshake
	time.Sleep(l.delay) // arrives with it
	nc, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return
	}
	d := nc.(*net.TCPConn)
	defer d.Close()
	var wg sync.WaitGroup
	wg.Go(func() { write(d, c, out) })
	wg.Go(func() { write(c, d, l.read(d)) })
	wg.Wait()
}

// piece is bytes and when they arrive.
type piece struct {
	at time.Time
	b  []byte
}

// read reads src as fast as the line carries it. The channel is closed at its
// end.
func (l line) read(src *net.TCPConn) <-chan piece {
	size := pieceSize
	if l.bandwidth > 0 {
		src.SetReadBuffer(thinQueue)
		size = 8 << 10
	}
	pieces := make(chan piece, 1<<16)
	go func() { // ends with src
		defer close(pieces)
		busy := time.Now() // until when the line carries what was read
		for {
			b := make([]byte, size)
			n, err := src.Read(b)
			if n > 0 {
				now := time.Now()
				if busy.Before(now) {
					busy = now
				}
				if l.bandwidth > 0 {
					busy = busy.Add(time.Duration(float64(n) / l.bandwidth * float64(time.Second)))
				}
				pieces <- piece{busy.Add(l.delay), b[:n]}
				time.Sleep(time.Until(busy) - time.Millisecond)
			}
			if err != nil {
				return
			}
		}
	}()
	return pieces
}

// write writes pieces when they arrive; src is where they come from.
func write(dst, src *net.TCPConn, pieces <-chan piece) {
	for p := range pieces {
		time.Sleep(time.Until(p.at))
		if _, err := dst.Write(p.b); err != nil {
			src.Close()
			for range pieces {
			}
			return
		}
	}
	dst.CloseWrite()
}
