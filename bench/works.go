package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// contenders are the clients, each with its server. The first is what ratios are
// to.
func (e *env) contenders() []contender {
	common := []string{"-F", "none", "-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-o", "UserKnownHostsFile=" + e.path("known_hosts"), "-i", e.path("id")}
	ssh := append([]string{"ssh"}, common...)
	adit := append([]string{e.path("adit"), "ssh"}, common...)
	list := []contender{{"ssh+sshd", ssh, e.sshd}, {"adit+sshd", adit, e.sshd}, {"adit+adit", adit, e.bast}}
	if self, err := os.Executable(); err == nil {
		list = append(list, contender{"x/crypto+sshd", append([]string{self, "xcrypto"}, common...), e.sshd})
	}
	return list
}

// work is one kind of measurement.
type work struct {
	name string
	run  func(e *env, c contender, r *results) error
}

func works(size int) []work {
	var list []work
	for _, cipher := range []string{"aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"} {
		short, _, _ := strings.Cut(cipher, "@")
		list = append(list,
			work{"-L up " + short, func(e *env, c contender, r *results) error {
				return stream(e, c, r, "-L up "+short, cipher, size, true)
			}},
			work{"-L down " + short, func(e *env, c contender, r *results) error {
				return stream(e, c, r, "-L down "+short, cipher, size, false)
			}})
	}
	return append(list,
		work{"-W set-up", setUp},
		work{"-D one at a time", func(e *env, c contender, r *results) error { return requests(e, c, r, 1) }},
		work{"-D 100 at once", func(e *env, c contender, r *results) error { return requests(e, c, r, 100) }},
		work{"idle channels", idle},
		work{"-L down 100 ms", slowDown},
		work{"-W set-up 100 ms", slowSetUp})
}

// client is a running client with a local port.
type client struct {
	cmd  *exec.Cmd
	addr string
}

// forward starts the contender with one forward on a free port.
func forward(e *env, c contender, serverPort int, flag, target string, more ...string) (*client, error) {
	port := freePort()
	spec := fmt.Sprintf("127.0.0.1:%d%s", port, target)
	args := append(append([]string{}, c.client[1:]...), more...)
	args = append(args, "-N", "-p", strconv.Itoa(serverPort), flag, spec, user()+"@127.0.0.1")
	cmd := exec.Command(c.client[0], args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	cl := &client{cmd, fmt.Sprint("127.0.0.1:", port)}
	if err := waitFor(port); err != nil {
		cl.stop()
		return nil, err
	}
	return cl, nil
}

func user() string {
	if u := os.Getenv("USER"); u != "" && os.Getuid() != 0 {
		return u
	}
	return "root"
}

func (c *client) stop() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// cpu returns the seconds of CPU that the client has used.
func (c *client) cpu() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b)[strings.LastIndexByte(string(b), ')')+1:])
	user, _ := strconv.ParseFloat(f[11], 64)
	sys, _ := strconv.ParseFloat(f[12], 64)
	return (user + sys) / 100 // USER_HZ
}

// rss returns the client's resident memory, KiB.
func (c *client) rss() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	v, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return v
}

// stream moves size bytes over one -L stream.
func stream(e *env, c contender, r *results, row, cipher string, size int, up bool) error {
	port := e.source
	if up {
		port = e.sink
	}
	cl, err := forward(e, c, c.port, "-L", fmt.Sprint(":127.0.0.1:", port), "-c", cipher)
	if err != nil {
		return err
	}
	defer cl.stop()
	conn, err := net.Dial("tcp", cl.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	began, cpu := time.Now(), cl.cpu()
	if up {
		b := make([]byte, 256<<10)
		for left := size; left > 0; left -= len(b) {
			if _, err := conn.Write(b); err != nil {
				return err
			}
		}
		conn.(*net.TCPConn).CloseWrite()
		if _, err := io.ReadFull(conn, b[:1]); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(conn, "%d\n", size)
		b := make([]byte, 256<<10)
		for got := 0; got < size; {
			n, err := conn.Read(b)
			if err != nil {
				return err
			}
			got += n
		}
	}
	r.add(figure{row, "MiB/s", false}, c.name, float64(size)/(1<<20)/time.Since(began).Seconds())
	r.add(figure{row, "CPU s/GiB", true}, c.name, (cl.cpu()-cpu)/(float64(size)/(1<<30)))
	return nil
}

// stdio runs -W once: 100 bytes to the echo and 300 back.
func stdio(e *env, c contender, port int) (wall time.Duration, cpu float64, err error) {
	args := append(append([]string{}, c.client[1:]...), "-o", "KexAlgorithms=curve25519-sha256", "-p", strconv.Itoa(port), "-W", fmt.Sprint("127.0.0.1:", e.echo), user()+"@127.0.0.1")
	cmd := exec.Command(c.client[0], args...)
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
	in.Write(make([]byte, 100))
	_, err = io.ReadFull(out, make([]byte, 300))
	wall = time.Since(began)
	in.Close()
	io.Copy(io.Discard, out)
	cmd.Wait()
	s := cmd.ProcessState
	return wall, (s.UserTime() + s.SystemTime()).Seconds(), err
}

func setUp(e *env, c contender, r *results) error {
	for range 5 {
		wall, cpu, err := stdio(e, c, c.port)
		if err != nil {
			return err
		}
		r.add(figure{"-W set-up, curve25519", "ms wall", true}, c.name, float64(wall.Microseconds())/1000)
		r.add(figure{"-W set-up, curve25519", "ms CPU", true}, c.name, cpu*1000)
	}
	return nil
}

// slowPort is the delayed way to the contender's server.
func (e *env) slowPort(c contender) int {
	if c.port == e.bast {
		return e.slowB
	}
	return e.slow
}

// slowSetUp counts round trips to the first answer, TCP's own included: the
// proxy answers TCP at once, so one is added.
func slowSetUp(e *env, c contender, r *results) error {
	wall, _, err := stdio(e, c, e.slowPort(c))
	if err != nil {
		return err
	}
	r.add(figure{"-W set-up to the first answer", "round trips", true}, c.name, 1+wall.Seconds()/(2*delay.Seconds()))
	return nil
}

func slowDown(e *env, c contender, r *results) error {
	slow := c
	slow.port = e.slowPort(c)
	part := &results{by: map[figure]map[string][]float64{}}
	if err := stream(e, slow, part, "x", "aes128-gcm@openssh.com", 192<<20, false); err != nil {
		return err
	}
	r.add(figure{"-L down at 100 ms round trip", "MiB/s", false}, c.name, median(part.by[figure{"x", "MiB/s", false}][c.name]))
	return nil
}

// socks opens a SOCKS5 connection to the echo.
func socks(proxy string, port int) (net.Conn, error) {
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 10)
	c.Write([]byte{5, 1, 0})
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		c.Close()
		return nil, err
	}
	c.Write([]byte{5, 1, 0, 1, 127, 0, 0, 1, byte(port >> 8), byte(port)})
	if _, err := io.ReadFull(c, b); err != nil || b[1] != 0 {
		c.Close()
		return nil, fmt.Errorf("SOCKS answer %d: %w", b[1], err)
	}
	return c, nil
}

// requests makes short connections through -D for two seconds.
func requests(e *env, c contender, r *results, atOnce int) error {
	cl, err := forward(e, c, c.port, "-D", "")
	if err != nil {
		return err
	}
	defer cl.stop()
	var wg sync.WaitGroup
	var mu sync.Mutex
	count, failed := 0, error(nil)
	began, cpu := time.Now(), cl.cpu()
	for range atOnce {
		wg.Go(func() {
			b := make([]byte, 300)
			for time.Since(began) < 2*time.Second {
				conn, err := socks(cl.addr, e.echo)
				if err == nil {
					conn.Write(b[:100])
					_, err = io.ReadFull(conn, b)
					conn.Close()
				}
				mu.Lock()
				count++
				if err != nil {
					failed = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	row := fmt.Sprintf("-D, %d at once", atOnce)
	r.add(figure{row, "requests/s", false}, c.name, float64(count)/time.Since(began).Seconds())
	if atOnce > 1 {
		r.add(figure{row, "CPU us each", true}, c.name, (cl.cpu()-cpu)/float64(count)*1e6)
	}
	return nil
}

// idle opens channels and leaves them alone. sshd limits descriptors to what it
// was started with, so there are not too many.
func idle(e *env, c contender, r *results) error {
	const channels = 400
	cl, err := forward(e, c, c.port, "-D", "")
	if err != nil {
		return err
	}
	defer cl.stop()
	first, err := socks(cl.addr, e.echo)
	if err != nil {
		return err
	}
	defer first.Close()
	before := cl.rss()
	for range channels {
		conn, err := socks(cl.addr, e.echo)
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	r.add(figure{"idle channel over -D, client", "KiB", true}, c.name, (cl.rss()-before)/channels)
	return nil
}
