//go:build linux

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/bastion"
)

// allocsWork counts allocations for each CHANNEL_DATA of a -L stream, in client
// and server together, which run in this process for once.
func allocsWork(size int, d direction) work {
	row := "-L " + string(d) + ", allocations"
	return work{name: row, run: func(e *env, c contender, r *results) error {
		if c.server != e.adit || !strings.HasPrefix(c.name, "adit") {
			return errUnable
		}
		addr, end, err := bothEnds(e)
		if err != nil {
			return err
		}
		defer end()
		var before, after runtime.MemStats
		for _, s := range []*runtime.MemStats{&before, &after} {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				return err
			}
			err = moveQuietly(conn.(*net.TCPConn), d, int64(size))
			runtime.ReadMemStats(s)
			conn.Close()
			if err != nil {
				return err
			}
		}
		r.less(row, "per packet", c.name, float64(after.Mallocs-before.Mallocs)/float64(size/(32<<10)))
		return nil
	}}
}

// bothEnds starts a server and a client that forwards to the target.
func bothEnds(e *env) (addr string, end func(), err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", nil, err
	}
	signer, err := gossh.NewSignerFromKey(key)
	if err != nil {
		return "", nil, err
	}
	s, err := bastion.New(bastion.Config{HostKeys: []gossh.Signer{signer},
		Authorize: func(context.Context, string, net.Addr, gossh.PublicKey) *bastion.Permissions {
			return &bastion.Permissions{}
		}})
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go s.Serve(l) // ends with Shutdown
	shutdown := func() { s.Shutdown(context.Background()) }
	c, err := adit.Dial(context.Background(), l.Addr().String(), &adit.Config{User: "u",
		CheckHostKey: adit.FixedHostKey(signer.PublicKey()), Keys: adit.Keys(signer)})
	if err != nil {
		shutdown()
		return "", nil, err
	}
	f, err := c.Forward(context.Background(), adit.Forward{Listen: "127.0.0.1:0", Target: "127.0.0.1:" + strconv.Itoa(e.target)})
	if err != nil {
		err = errors.Join(err, c.Close())
		shutdown()
		return "", nil, err
	}
	return f.Addr().String(), func() { f.Close(); c.Close(); shutdown() }, nil
}

// moveQuietly is move without an allocation of its own for each read.
func moveQuietly(c *net.TCPConn, d direction, size int64) error {
	if d == up {
		return move(c, d, size)
	}
	if err := ask(c, opSource, size); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		for size > 0 {
			n, err := unix.Read(int(fd), room)
			if err == unix.EAGAIN {
				return false
			}
			if err == nil && n == 0 {
				err = io.ErrUnexpectedEOF
			}
			if rerr = err; err != nil {
				return true
			}
			size -= int64(n)
		}
		return true
	})
	return errors.Join(err, rerr)
}
