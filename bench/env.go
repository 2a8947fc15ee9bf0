package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// env is what all rounds share: keys, servers, targets.
type env struct {
	dir    string
	sshd   int // port of stock sshd
	bast   int // port of adit serve
	slow   int // port of a proxy to sshd with a delay
	slowB  int // the same to adit serve
	sink   int // a target that reads all and answers one byte at the end
	source int // a target that sends what it is asked for
	echo   int // a target that answers 100 bytes with 300
	procs  []*exec.Cmd
	lns    []net.Listener
	once   sync.Once
}

// delay is one way; a round trip takes twice as long.
const delay = 50 * time.Millisecond

func newEnv() (e *env, err error) {
	e = new(env)
	if e.dir, err = os.MkdirTemp("", "adit-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	if out, err := exec.Command("go", "build", "-o", e.path("adit"), "./cmd/adit").CombinedOutput(); err != nil {
		return e, fmt.Errorf("build adit: %w\n%s", err, out)
	}
	for _, k := range []string{"host", "id"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", e.path(k)).CombinedOutput(); err != nil {
			return e, fmt.Errorf("ssh-keygen: %w %s", err, out)
		}
	}
	if err := e.startServers(); err != nil {
		return e, err
	}
	e.sink = e.listen(func(c net.Conn) {
		io.Copy(io.Discard, c)
		c.Write([]byte{1})
	})
	e.source = e.listen(serveSource)
	e.echo = e.listen(func(c net.Conn) {
		b := make([]byte, 300)
		for {
			if _, err := io.ReadFull(c, b[:100]); err != nil {
				return
			}
			c.Write(b)
		}
	})
	e.slow, e.slowB = e.slowProxy(e.sshd), e.slowProxy(e.bast)
	return e, nil
}

func (e *env) path(name string) string { return filepath.Join(e.dir, name) }

func (e *env) close() {
	e.once.Do(func() {
		for _, p := range e.procs {
			p.Process.Kill()
			p.Wait()
		}
		for _, l := range e.lns {
			l.Close()
		}
		os.RemoveAll(e.dir)
	})
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startServers starts sshd and adit serve with the same keys.
func (e *env) startServers() error {
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		return errors.New("sshd is not installed; make deps installs it")
	}
	if os.Getuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755)
	}
	e.sshd, e.bast = freePort(), freePort()
	conf := fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nMaxStartups 1000\n",
		e.sshd, e.path("host"), e.path("id.pub"))
	if err := os.WriteFile(e.path("sshd_config"), []byte(conf), 0o600); err != nil {
		return err
	}
	pub, err := os.ReadFile(e.path("host.pub"))
	if err != nil {
		return err
	}
	f := strings.Fields(string(pub))
	if err := os.WriteFile(e.path("known_hosts"), []byte(fmt.Sprintf("* %s %s\n", f[0], f[1])), 0o600); err != nil {
		return err
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command(sshd, "-D", "-q", "-f", e.path("sshd_config")),
		exec.Command(e.path("adit"), "serve", "--listen", fmt.Sprint("127.0.0.1:", e.bast), "--host-key", e.path("host"), "--authorized-keys", e.path("id.pub")),
	} {
		if err := cmd.Start(); err != nil {
			return err
		}
		e.procs = append(e.procs, cmd)
	}
	for _, port := range []int{e.sshd, e.bast} {
		if err := waitFor(port); err != nil {
			return err
		}
	}
	return nil
}

// waitFor waits until a port takes connections.
func waitFor(port int) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nothing listens on port %d: %w", port, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// listen serves a target.
func (e *env) listen(serve func(net.Conn)) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	e.lns = append(e.lns, l)
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// serveSource sends as many bytes as a line asks for.
func serveSource(c net.Conn) {
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return
	}
	left, _ := strconv.Atoi(strings.TrimSpace(line))
	b := make([]byte, 256<<10)
	for left > 0 {
		n, err := c.Write(b[:min(left, len(b))])
		if err != nil {
			return
		}
		left -= n
	}
}

// slowProxy forwards to port with a delay each way and no limit to bandwidth.
func (e *env) slowProxy(port int) int {
	return e.listen(func(c net.Conn) {
		d, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			return
		}
		defer d.Close()
		var wg sync.WaitGroup
		wg.Go(func() { delayed(d, c) })
		wg.Go(func() { delayed(c, d) })
		wg.Wait()
	})
}

// delayed copies src to dst, each piece after the delay.
func delayed(dst, src net.Conn) {
	type piece struct {
		at time.Time
		b  []byte
	}
	pieces := make(chan piece, 1<<16)
	go func() { // ends with src
		defer close(pieces)
		for {
			b := make([]byte, 64<<10)
			n, err := src.Read(b)
			if n > 0 {
				pieces <- piece{time.Now().Add(delay), b[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.at))
		if _, err := dst.Write(p.b); err != nil {
			src.Close()
			for range pieces {
			}
			return
		}
	}
	dst.(*net.TCPConn).CloseWrite()
}
