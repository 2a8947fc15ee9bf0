//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// ssmSpreadWork downloads size bytes over eight connections of one -L at once,
// spread over some of Session Manager's sessions, from an agent with AWS's sleeps.
func ssmSpreadWork(sessions, size int) work {
	const streams, trip = 8, 4 * time.Millisecond
	row := fmt.Sprintf("ssm 8 down, %d sessions", sessions)
	return work{name: row, run: func(e *env, c contender, r *results) error {
		if c.name != "adit+sshd" {
			return errUnable
		}
		url, end, err := e.gateway(1<<10, trip/2, time.Millisecond)
		if err != nil {
			return err
		}
		defer end()
		local := fmt.Sprint("127.0.0.1:", freePort())
		_, port, err := net.SplitHostPort(local)
		if err != nil {
			return err
		}
		args := append(append([]string{}, c.client[1:]...), "-N", "-p", strconv.Itoa(c.server.port), "-L", local+fmt.Sprint(":127.0.0.1:", e.target),
			fmt.Sprintf("ssm://%s@i-0123456789abcdef0?sessions=%d", user(), sessions))
		cmd := e.profiled(exec.Command(c.client[0], args...), "ssm spread")
		cmd.Env = append(cmd.Env, ssmgw.Env(url, e.dir)...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		cl := &client{cmd, local}
		defer cl.stop()
		n, err := strconv.Atoi(port)
		if err != nil {
			return err
		}
		if err := waitFor(n); err != nil {
			return err
		}
		began, before := time.Now(), usageOf(cmd.Process.Pid)
		errs := make([]error, streams)
		var flows sync.WaitGroup
		for i := range streams {
			flows.Go(func() {
				conn, err := cl.dial()
				if err != nil {
					errs[i] = err
					return
				}
				defer conn.Close()
				if errs[i] = ask(conn, opSource, int64(size/streams)); errs[i] == nil {
					_, errs[i] = io.CopyN(io.Discard, conn, int64(size/streams))
				}
			})
		}
		flows.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		r.more(row, "MB/s", c.name, float64(size)/1e6/time.Since(began).Seconds())
		r.less(row, "client s/GB", c.name, (usageOf(cmd.Process.Pid).cpu-before.cpu)/(float64(size)/1e9))
		return nil
	}}
}
