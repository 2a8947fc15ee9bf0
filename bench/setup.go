//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// stdio runs -W once: 100 bytes to the echo and 300 back.
func (e *env) stdio(c contender, port int, more ...string) (wall time.Duration, cpu float64, err error) {
	args := append(append([]string{}, c.client[1:]...), more...)
	args = append(args, "-p", strconv.Itoa(port), "-W", fmt.Sprint("127.0.0.1:", e.target), user()+"@127.0.0.1")
	cmd := exec.Command(c.client[0], args...)
	cmd.Env = e.environ()
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	in.Write(append([]byte{opEcho}, make([]byte, 100)...))
	_, err = io.ReadFull(out, make([]byte, 300))
	wall = time.Since(began)
	in.Close()
	io.Copy(io.Discard, out)
	cmd.Wait()
	s := cmd.ProcessState
	return wall, (s.UserTime() + s.SystemTime()).Seconds(), err
}

// setUpWork measures -W from the start of the program to the first answer at no
// delay, with a key exchange that all have.
func setUpWork() work {
	row := "-W set-up, curve25519"
	return work{name: row, run: func(e *env, c contender, r *results) error {
		for range 5 {
			wall, cpu, err := e.stdio(c, c.server.port, "-o", "KexAlgorithms=curve25519-sha256")
			if err != nil {
				return err
			}
			r.less(row, "ms wall", c.name, wall.Seconds()*1e3)
			r.less(row, "ms CPU", c.name, cpu*1e3)
		}
		return nil
	}}
}

// slowSetUpWork counts round trips to the first answer with each client's own
// algorithms, over a line so long that computing does not count: with a server
// that the client has never seen, and again. The proxy answers TCP at once, so
// one is added.
func slowSetUpWork() work {
	row := "-W set-up to the first answer"
	return work{name: row, most: 2, run: func(e *env, c contender, r *results) error {
		trips := func(kind string, s *server) error {
			wall, _, err := e.stdio(c, s.far)
			if err == nil {
				r.less(row+kind, "round trips", c.name, 1+wall.Seconds()/(2*farLine.delay.Seconds()))
			}
			return err
		}
		os.RemoveAll(e.path("cache"))
		if err := trips(", new", c.server); err != nil {
			return err
		}
		if err := trips(", known", c.server); err != nil || c.server != e.sshd {
			return err
		}
		// The stock sshd prefers sntrup761, which others don't have.
		if _, _, err := e.stdio(c, e.curve.far); err != nil {
			return err
		}
		return trips(", known, curve25519 first", e.curve)
	}}
}
