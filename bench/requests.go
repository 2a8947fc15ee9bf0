//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// requestsWork makes short connections through -D, atOnce of them at a time.
func requestsWork(atOnce int, seconds time.Duration) work {
	row := fmt.Sprintf("-D, %d at once", atOnce)
	return work{name: row, run: func(e *env, c contender, r *results) error {
		cl, err := e.forward(c, c.server.port, "-D")
		if err != nil {
			return err
		}
		defer cl.stop()
		before, began := usageOf(cl.cmd.Process.Pid), time.Now()
		count, err := e.requests(cl.addr, atOnce, began.Add(seconds))
		if err != nil {
			return err
		}
		r.more(row, "requests/s", c.name, float64(count)/time.Since(began).Seconds())
		r.less(row, "client us each", c.name, (usageOf(cl.cmd.Process.Pid).cpu-before.cpu)/float64(count)*1e6)
		return nil
	}}
}

// requests makes connections through a proxy, atOnce at a time, until it is
// time, and returns how many. It is one thread around epoll(7): with goroutines
// and net.Conn the load took more of the machine than the client under test.
func (e *env) requests(proxy string, atOnce int, until time.Time) (count int, err error) {
	to, err := netip.ParseAddrPort(proxy)
	if err != nil {
		return 0, err
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(poll)
	open := map[int32]*request{}
	defer func() {
		for fd := range open {
			unix.Close(int(fd))
		}
	}()
	start := func() error {
		fd, err := begin(poll, to)
		if err == nil {
			open[fd] = &request{fd: int(fd), port: e.target}
		}
		return err
	}
	for range atOnce {
		if err := start(); err != nil {
			return 0, err
		}
	}
	events := make([]unix.EpollEvent, atOnce)
	for len(open) > 0 {
		n, err := unix.EpollWait(poll, events, 20_000)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = errors.New("nothing moves for 20 s")
		}
		if err != nil {
			return count, err
		}
		for _, ev := range events[:n] {
			done, err := open[ev.Fd].step()
			if err != nil {
				return count, err
			}
			if !done {
				continue
			}
			count++
			delete(open, ev.Fd)
			unix.Close(int(ev.Fd))
			if time.Now().Before(until) {
				if err := start(); err != nil {
					return count, err
				}
			}
		}
	}
	return count, nil
}

// begin begins a connection whose events poll reports.
func begin(poll int, to netip.AddrPort) (fd int32, err error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	fd = int32(s)
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | 1<<31, Fd: fd} // EPOLLET
	if err = unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, s, &ev); err == nil {
		err = unix.Connect(s, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(s)
		return -1, err
	}
	return fd, nil
}

// request is a connection through SOCKS5, of one question of 100 bytes and its
// answer of 300, to the end.
type request struct {
	fd    int
	port  int // of the target
	stage int // what was sent: 1 methods, 2 connect, 3 the question
	got   int // bytes of the answer to that
	b     [512]byte
}

// answers are the lengths of the answers at each stage.
var answers = [...]int{0, 2, 10, 300}

const lastStage = len(answers) - 1

// step goes on as far as the socket allows.
func (q *request) step() (done bool, err error) {
	for {
		if q.got == answers[q.stage] && q.stage < lastStage {
			if err := q.send(); err == unix.EAGAIN { // not connected yet
				return false, nil
			} else if err != nil {
				return false, fmt.Errorf("after stage %d: %w", q.stage, err)
			}
			q.stage, q.got = q.stage+1, 0
		}
		n, err := unix.Read(q.fd, q.b[q.got:])
		switch {
		case err == unix.EAGAIN:
			return false, nil
		case err != nil:
			return false, fmt.Errorf("stage %d: %w", q.stage, err)
		case n == 0 && q.stage == lastStage && q.got == answers[lastStage]:
			return true, nil
		case n == 0:
			return false, fmt.Errorf("ended at stage %d after %d bytes", q.stage, q.got)
		}
		if q.got += n; q.got > answers[q.stage] || q.stage == 2 && q.got > 1 && q.b[1] != 0 {
			return false, fmt.Errorf("answer of stage %d begins with % x", q.stage, q.b[:min(q.got, 10)])
		}
	}
}

// send sends what the next stage asks with.
func (q *request) send() error {
	b := q.b[:101]
	switch q.stage {
	case 0:
		b = append(b[:0], 5, 1, 0)
	case 1:
		b = append(b[:0], 5, 1, 0, 1, 127, 0, 0, 1, byte(q.port>>8), byte(q.port))
	case 2:
		b[0] = opAnswer
	}
	n, err := unix.Write(q.fd, b)
	if err == nil && n < len(b) {
		err = fmt.Errorf("%d of %d bytes were written", n, len(b))
	}
	return err
}
