//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// env is what all rounds share: keys, servers, the target.
type env struct {
	dir     string
	profile string // folder for profiles, or empty
	sshd    *server
	curve   *server // sshd that prefers curve25519-sha256
	adit    *server
	target  int // port

	procs     []*exec.Cmd
	listeners []net.Listener
	once      sync.Once
}

// server is a running server, and proxies to it.
type server struct {
	pid, port       int
	long, far, thin int // ports of proxies over a longLine, a farLine and a thinLine
}

// contender is a client under test, with the server that it talks to.
type contender struct {
	name   string
	client []string // command and flags up to the forward
	server *server
	able   *regexp.Regexp // works that it can do; nil for all
}

// errUnable says that a contender can't do a work.
var errUnable = errors.New("not possible with this client")

// contenders returns the clients. The first is what ratios are to.
func (e *env) contenders() []contender {
	common := []string{"-F", "none", "-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-o", "UserKnownHostsFile=" + e.path("known_hosts"), "-i", e.path("id")}
	ssh := append([]string{"ssh"}, common...)
	adit := append([]string{e.path("adit"), "ssh"}, common...)
	list := []contender{
		{name: "ssh+sshd", client: ssh, server: e.sshd},
		{name: "adit+sshd", client: adit, server: e.sshd},
		{name: "adit+adit", client: adit, server: e.adit},
	}
	if self, err := os.Executable(); err == nil {
		list = append(list, contender{name: "x/crypto+sshd", client: append([]string{self, "xcrypto"}, common...), server: e.sshd})
	}
	if path, err := exec.LookPath("tssh"); err == nil {
		list = append(list, contender{name: "tssh+sshd", client: append([]string{path}, common...), server: e.sshd})
	}
	if e.dropbearKey() == nil {
		dbclient := []string{"dbclient", "-y", "-y", "-i", e.path("id.db")}
		list = append(list, contender{name: "dbclient+sshd", client: dbclient, server: e.sshd, able: regexp.MustCompile("^-L (up|down) chacha")})
	}
	return list
}

// dropbearKey makes a key that dbclient reads, if it is installed.
func (e *env) dropbearKey() error {
	return exec.Command("dropbearconvert", "openssh", "dropbear", e.path("id"), e.path("id.db")).Run()
}

func newEnv(profile string) (e *env, err error) {
	e = &env{profile: profile}
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
	return e, e.startTarget()
}

func (e *env) path(name string) string { return filepath.Join(e.dir, name) }

func (e *env) close() {
	e.once.Do(func() {
		for _, p := range e.procs {
			p.Process.Signal(syscall.SIGTERM)
			p.Wait()
		}
		for _, l := range e.listeners {
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
	e.sshd, e.curve, e.adit = &server{port: freePort()}, &server{port: freePort()}, &server{port: freePort()}
	conf := fmt.Sprintf("ListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nMaxStartups 1000\n",
		e.path("host"), e.path("id.pub"))
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
	for s, cmd := range map[*server]*exec.Cmd{
		e.curve: exec.Command(sshd, "-D", "-q", "-f", e.path("sshd_config"), "-p", strconv.Itoa(e.curve.port), "-o", "KexAlgorithms=curve25519-sha256,ecdh-sha2-nistp256"),
		e.sshd:  exec.Command(sshd, "-D", "-q", "-f", e.path("sshd_config"), "-p", strconv.Itoa(e.sshd.port)),
		e.adit:  e.aditServe(e.adit.port),
	} {
		if err := cmd.Start(); err != nil {
			return err
		}
		e.procs = append(e.procs, cmd)
		s.pid = cmd.Process.Pid
		if err := waitFor(s.port); err != nil {
			return err
		}
		if s.long, err = e.through(longLine, s.port); err != nil {
			return err
		}
		if s.far, err = e.through(farLine, s.port); err != nil {
			return err
		}
		if s.thin, err = e.through(thinLine, s.port); err != nil {
			return err
		}
	}
	return nil
}

// startAdit starts one more adit serve.
func (e *env) startAdit() (s *server, end func(), err error) {
	s = &server{port: freePort()}
	cmd := e.aditServe(s.port)
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	s.pid = cmd.Process.Pid
	end = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}
	if err := waitFor(s.port); err != nil {
		end()
		return nil, nil, err
	}
	return s, end, nil
}

func (e *env) aditServe(port int) *exec.Cmd {
	return e.profiled(exec.Command(e.path("adit"), "serve", "--listen", fmt.Sprint("127.0.0.1:", port), "--host-key", e.path("host"), "--authorized-keys", e.path("id.pub")), "serve")
}

// environ is the environment of all programs: what they keep is ours.
func (e *env) environ() []string { return append(os.Environ(), "XDG_CACHE_HOME="+e.path("cache")) }

// profiled has adit write a CPU profile, when profiles are wanted.
func (e *env) profiled(cmd *exec.Cmd, name string) *exec.Cmd {
	cmd.Env = e.environ()
	if e.profile != "" && cmd.Path == e.path("adit") {
		file := filepath.Join(e.profile, fmt.Sprintf("%s-%d.pprof", strings.ReplaceAll(name, " ", "_"), time.Now().UnixNano()))
		cmd.Env = append(cmd.Env, "ADIT_CPUPROFILE="+file)
	}
	return cmd
}

func (e *env) startTarget() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "target")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if _, err := cmd.StdinPipe(); err != nil { // it ends with us
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	e.procs = append(e.procs, cmd)
	s := bufio.NewScanner(out)
	s.Scan()
	e.target, err = strconv.Atoi(s.Text())
	return err
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

// client is a running client with a local port.
type client struct {
	cmd  *exec.Cmd
	addr string
}

// forward starts the contender with one forward on a free port: flag is -L,
// whose target is the target, or -D.
func (e *env) forward(c contender, serverPort int, flag string, more ...string) (*client, error) {
	port := freePort()
	spec := fmt.Sprint("127.0.0.1:", port)
	if flag == "-L" {
		spec += fmt.Sprint(":127.0.0.1:", e.target)
	}
	args := append(append([]string{}, c.client[1:]...), more...)
	args = append(args, "-N", "-p", strconv.Itoa(serverPort), flag, spec, user()+"@127.0.0.1")
	cmd := e.profiled(exec.Command(c.client[0], args...), c.name)
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

// stream is forward with -L and a first connection through it. end ends both.
func (e *env) stream(c contender, port int, cipher string) (cl *client, conn *net.TCPConn, end func(), err error) {
	if cl, err = e.forward(c, port, "-L", "-c", cipher); err != nil {
		return nil, nil, nil, err
	}
	if conn, err = cl.dial(); err != nil {
		cl.stop()
		return nil, nil, nil, err
	}
	return cl, conn, func() { conn.Close(); cl.stop() }, nil
}

func (c *client) dial() (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func (c *client) stop() {
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.cmd.Wait()
}

func user() string {
	if u := os.Getenv("USER"); u != "" && os.Getuid() != 0 {
		return u
	}
	return "root"
}

// machine describes where the figures come from.
func (e *env) machine() string {
	line := func(out []byte, _ error) string {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return first
	}
	cpu := "CPU unknown"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name\t: "); ok {
			cpu, _, _ = strings.Cut(rest, "\n")
		}
	}
	commit := line(exec.Command("git", "describe", "--always", "--dirty").Output())
	return fmt.Sprintf("\nadit %s, %s, %s; kernel %s; %d cores of %s", commit, runtime.Version(),
		line(exec.Command("ssh", "-V").CombinedOutput()), line(exec.Command("uname", "-r").Output()), runtime.NumCPU(), cpu)
}
