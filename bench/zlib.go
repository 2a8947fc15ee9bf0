//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// contents are what a stream is filled with, again and again; what comes again is
// further back than compression looks.
type contents []byte

const contentsSize = 1 << 20

// patternContents cost nothing to make, and say nothing about compression.
func patternContents() contents {
	b := make(contents, contentsSize)
	for i := range b {
		b[i] = byte(i * i >> 7)
	}
	return b
}

// rowContents are rows as a database sends them; noiseContents don't compress.
func rowContents() contents {
	r := rand.New(rand.NewPCG(1, 2))
	var b contents
	for i := 1000; len(b) < contentsSize; i++ {
		b = fmt.Appendf(b, "%d\t%08x-%04x\t2026-%02d-%02d %02d:%02d:%02d\t%s\t%d.%02d\t%t\n", i, r.Uint32(), r.IntN(1<<16), 1+r.IntN(12), 1+r.IntN(28),
			r.IntN(24), r.IntN(60), r.IntN(60), []string{"open", "shipped", "cancelled", "returned"}[r.IntN(4)], r.IntN(900), r.IntN(100), r.IntN(9) > 0)
	}
	return b[:contentsSize]
}

func noiseContents() contents {
	b := make(contents, contentsSize)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// zlibWork moves size bytes of rows, or of noise, over one -L stream with -C.
func zlibWork(d direction, rows bool, size int) work {
	op, of, what := byte(opNoise), noiseContents, "noise"
	if rows {
		op, of, what = opRows, rowContents, "rows"
	}
	row := "-L -C " + string(d) + " " + what
	return work{name: row, most: 2, run: func(e *env, c contender, r *results) error {
		if strings.HasPrefix(c.name, "x/crypto") {
			return errUnable
		}
		cl, err := e.forward(c, c.server.port, "-L", "-C")
		if err != nil {
			return err
		}
		defer cl.stop()
		conn, err := cl.dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		client, server, began := usageOf(cl.cmd.Process.Pid), usageOf(c.server.pid), time.Now()
		if err := moveOf(conn, d, op, of(), int64(size)); err != nil {
			return err
		}
		took, gib := time.Since(began).Seconds(), float64(size)/(1<<30)
		r.more(row, "MiB/s", c.name, gib*1024/took)
		r.less(row, "client s/GiB", c.name, (usageOf(cl.cmd.Process.Pid).cpu-client.cpu)/gib)
		r.less(row, "server s/GiB", c.name, (usageOf(c.server.pid).cpu-server.cpu)/gib)
		return nil
	}}
}
