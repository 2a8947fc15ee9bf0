//go:build linux

package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// ssmWork moves size bytes through `adit ssm`, a gateway and a simulated agent,
// which OpenSSH can't. payload is the most bytes in a message, either way, and
// sleep the agent's after each, of which AWS's takes 1 ms.
func ssmWork(d direction, payload int, trip, sleep time.Duration, size int) work {
	row := fmt.Sprintf("ssm %s %d KiB at %v", d, payload>>10, trip)
	if sleep > 0 {
		row += ", AWS's sleeps"
	}
	return work{name: row, run: func(e *env, c contender, r *results) error {
		if c.name != "adit+sshd" {
			return errUnable
		}
		a, err := e.startSSM(row, payload, trip, sleep, "--max-payload", strconv.Itoa(max(1024, payload)))
		if err != nil {
			return err
		}
		defer a.end()
		before, began := usageOf(a.pid), time.Now()
		first, err := pass(a.in, a.out, d, int64(size), began)
		if err != nil {
			return err
		}
		took := time.Since(began) - first
		r.more(row, "MB/s", c.name, float64(size)/1e6/took.Seconds())
		r.less(row, "client s/GB", c.name, (usageOf(a.pid).cpu-before.cpu)/(float64(size)/1e9))
		if d == down {
			r.less(row, "first byte ms", c.name, first.Seconds()*1000)
		}
		return nil
	}}
}

// session is an `adit ssm` to e.target through a gateway of its own.
type session struct {
	in  io.Writer
	out io.Reader
	pid int
	end func()
}

// startSSM starts one; row names its profile.
func (e *env) startSSM(row string, payload int, trip, sleep time.Duration, flags ...string) (*session, error) {
	url, stop, err := e.gateway(payload, trip/2, sleep)
	if err != nil {
		return nil, err
	}
	args := append(append([]string{"ssm", "--no-inband"}, flags...), "i-0123456789abcdef0", strconv.Itoa(e.target))
	cmd := e.profiled(exec.Command(e.path("adit"), args...), row)
	cmd.Env = append(cmd.Env, ssmgw.Env(url, e.dir)...)
	cmd.Stderr = os.Stderr
	in, out, err := startPiped(cmd)
	if err != nil {
		stop()
		return nil, err
	}
	return &session{in, out, cmd.Process.Pid, func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		stop()
	}}, nil
}

// startPiped starts a command with pipes for its standard input and output.
func startPiped(cmd *exec.Cmd) (in io.WriteCloser, out io.Reader, err error) {
	if in, err = cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		return nil, nil, err
	}
	return in, out, cmd.Start()
}

// pass moves size bytes and returns how long the first took, session and all;
// up it is 0.
func pass(in io.Writer, out io.Reader, d direction, size int64, began time.Time) (first time.Duration, err error) {
	op := byte(opSink)
	if d == down {
		op = opSource
	}
	if _, err := in.Write(binary.BigEndian.AppendUint64([]byte{op}, uint64(size))); err != nil {
		return 0, err
	}
	if d == up {
		if _, err := io.CopyN(in, zeros{}, size); err != nil {
			return 0, err
		}
		_, err = io.ReadFull(out, make([]byte, 1))
		return 0, err
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		return 0, err
	}
	first = time.Since(began)
	_, err = io.CopyN(io.Discard, out, size-1)
	return first, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// gateway starts a gateway in a process of its own.
func (e *env) gateway(payload int, delay, sleep time.Duration) (url string, end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(self, "ssmgw", "-payload", strconv.Itoa(payload), "-delay", delay.String(), "-sleep", sleep.String())
	cmd.Stderr = os.Stderr
	in, out, err := startPiped(cmd)
	if err != nil {
		return "", nil, err
	}
	end = func() {
		in.Close()
		cmd.Wait()
	}
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		end()
		return "", nil, fmt.Errorf("gateway: %w", err)
	}
	return strings.TrimSpace(string(line[:n])), end, nil
}

// gatewayPart is that process. It ends with its standard input.
func gatewayPart(args []string) error {
	f := flag.NewFlagSet("ssmgw", flag.ExitOnError)
	payload := f.Int("payload", 1024, "bytes in a message of the agent's")
	delay := f.Duration("delay", 0, "one way")
	sleep := f.Duration("sleep", 0, "after each message of the agent's")
	f.Parse(args)
	g := &ssmgw.Gateway{Agent: ssmgw.Agent{Payload: *payload, Sleep: *sleep}, Faults: ssmgw.Faults{Delay: *delay}}
	url, stop, err := g.Listen()
	if err != nil {
		return err
	}
	defer stop()
	fmt.Println(url)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
