//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a connection to the target asks for by its first byte. The first four are
// followed by a length of 8 bytes.
const (
	opSink   = 'S' // read so many bytes, then answer one
	opSource = 'D' // send so many bytes
	opRows   = 'R' // the same, of rows
	opNoise  = 'N' // the same, of noise
	opCount  = 'C' // read, and say every 100 ms how much it was, in 8 bytes
	opAnswer = 'A' // answer 100 bytes with 300 and close, as HTTP/1.0 does
	opEcho   = 'E' // answer 100 bytes with 300, again and again
	opPing   = 'P' // send back what comes
)

// target is the service behind the tunnels, in a process of its own. It writes
// its port to standard output and ends with standard input.
func target([]string) error {
	l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			serveTarget(c.(*net.TCPConn))
		}()
	}
}

func serveTarget(c *net.TCPConn) {
	var h [9]byte
	if _, err := io.ReadFull(c, h[:1]); err != nil {
		return
	}
	length := func() int64 {
		if _, err := io.ReadFull(c, h[1:]); err != nil {
			return 0
		}
		return int64(binary.BigEndian.Uint64(h[1:]))
	}
	switch h[0] {
	case opSink:
		if discard(c, length()) == nil {
			c.Write(h[:1])
			io.ReadFull(c, h[:1])
		}
	case opSource:
		produce(c, patternContents(), length())
	case opRows:
		produce(c, rowContents(), length())
	case opNoise:
		produce(c, noiseContents(), length())
	case opCount:
		count(c)
	case opAnswer:
		b := make([]byte, 300)
		if _, err := io.ReadFull(c, b[:100]); err == nil {
			c.Write(b)
		}
	case opEcho:
		b := make([]byte, 300)
		for {
			if _, err := io.ReadFull(c, b[:100]); err != nil {
				return
			}
			c.Write(b)
		}
	case opPing:
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			c.Write(b[:n])
		}
	}
}

func count(c *net.TCPConn) {
	total := make(chan int64, 1)
	total <- 0
	go func() { // ends with the connection
		for range time.Tick(100 * time.Millisecond) {
			n := <-total
			total <- n
			if _, err := c.Write(binary.BigEndian.AppendUint64(nil, uint64(n))); err != nil {
				return
			}
		}
	}()
	for {
		n, err := discardSome(c)
		if err != nil {
			return
		}
		total <- <-total + int64(n)
	}
}

// ask opens a connection's work.
func ask(w io.Writer, op byte, length int64) error {
	_, err := w.Write(binary.BigEndian.AppendUint64([]byte{op}, uint64(length)))
	return err
}

// room is only there to give a length to recv(2): with MSG_TRUNC TCP drops what
// it has and copies nothing.
var room = make([]byte, 1<<20)

// discardSome takes what a socket has.
func discardSome(c *net.TCPConn) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		n, _, rerr = unix.Recvfrom(int(fd), room, unix.MSG_TRUNC)
		return rerr != unix.EAGAIN
	})
	if err == nil {
		err = rerr
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// discard takes size bytes.
func discard(c *net.TCPConn, size int64) error {
	for size > 0 {
		n, err := discardSome(c)
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// produce sends size bytes from a file in memory with sendfile(2).
func produce(c *net.TCPConn, of contents, size int64) error {
	length := int64(len(of))
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, of); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var werr error
	err = raw.Write(func(out uintptr) bool {
		for size > 0 {
			var at int64
			n, err := syscall.Sendfile(int(out), fd, &at, int(min(size, length)))
			if err == syscall.EAGAIN {
				return false
			}
			if werr = err; err != nil {
				return true
			}
			size -= int64(n)
		}
		return true
	})
	if err == nil {
		err = werr
	}
	return err
}
