//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/socks"
)

// Other people's clients with `adit connect` as their helper. Each is started
// for one login, or as far as it goes, and says CONNECTED or why not.

// helped is a client that is to be started.
type helped struct {
	server  *testpeer.Server // who the client believes to reach
	command string           // its ProxyCommand
	dir     string           // a folder of its own, and its home
	shared  string           // a folder of all runs of this client
	options []string         // of ssh, for this case
}

type sshClient struct {
	name  string
	needs []string
	start func(t *testing.T, h *helped) *exec.Cmd
	// shows says that it shows the text of a DISCONNECT.
	shows bool
	// passes says that the helper's standard error is its own.
	passes bool
	// fdpass says that it takes a descriptor.
	fdpass bool
}

var sshClients = []sshClient{
	{"OpenSSH", []string{"ssh"}, startOpenSSH, true, true, false},
	{"OpenSSH, ProxyUseFdpass", []string{"ssh"}, startOpenSSHFdpass, false, true, true},
	{"libssh", []string{"gcc", "libssh"}, startLibssh, true, false, false},
	{"libssh2", []string{"gcc", "libssh2"}, startLibssh2, true, true, false}, // in its callback
	{"x/crypto", nil, startXCrypto, true, false, false},
	{"JSch", []string{"javac", "jsch"}, startJSch, true, true, false},
	{"PuTTY plink", []string{"plink", "puttygen"}, startPlink, true, false, false},
	{"paramiko", []string{"paramiko"}, startParamiko, false, false, false},
	{"dropbear dbclient", []string{"dbclient", "dropbearconvert"}, startDbclient, false, true, false},
}

func startOpenSSH(t *testing.T, h *helped) *exec.Cmd { return openSSH(t, h) }

func startOpenSSHFdpass(t *testing.T, h *helped) *exec.Cmd {
	return openSSH(t, h, "-o", "ProxyUseFdpass=yes")
}

func openSSH(t *testing.T, h *helped, more ...string) *exec.Cmd {
	args := append([]string{"-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", h.server.Key.Path,
		"-o", "UserKnownHostsFile=" + h.server.KnownHosts(t), "-o", "ProxyCommand=" + h.command,
		"-l", h.server.User, "-p", strconv.Itoa(h.server.Port())}, slices.Concat(more, h.options)...)
	return exec.Command("ssh", append(args, h.server.Host(), "echo CONNECTED")...)
}

func startPlink(t *testing.T, h *helped) *exec.Cmd {
	key := filepath.Join(h.dir, "id.ppk")
	mustRun(t, exec.Command("puttygen", h.server.Key.Path, "-O", "private", "-o", key))
	args := []string{"-ssh", "-batch", "-noagent", "-no-antispoof", "-i", key, "-proxycmd", h.command,
		"-l", h.server.User, "-P", strconv.Itoa(h.server.Port())}
	for _, k := range h.server.HostKeys {
		args = append(args, "-hostkey", gossh.FingerprintSHA256(k))
	}
	// It uses no proxy for a loopback address, and looks no name up for one.
	return exec.Command("plink", append(args, "server.test", "echo CONNECTED")...)
}

func startDbclient(t *testing.T, h *helped) *exec.Cmd {
	key := filepath.Join(h.dir, "id")
	mustRun(t, exec.Command("dropbearconvert", "openssh", "dropbear", h.server.Key.Path, key))
	return exec.Command("dbclient", "-y", "-y", "-i", key, "-J", h.command, "-l", h.server.User,
		"-p", strconv.Itoa(h.server.Port()), h.server.Host(), "echo CONNECTED")
}

func startParamiko(_ *testing.T, h *helped) *exec.Cmd {
	return exec.Command("/usr/bin/python3", "-W", "ignore", "testdata/clients/paramiko_client.py", h.command)
}

func startLibssh(t *testing.T, h *helped) *exec.Cmd {
	return exec.Command(compile(t, "libssh", h.shared, "-lssh"), h.command, h.server.Host(), strconv.Itoa(h.server.Port()))
}

func startLibssh2(t *testing.T, h *helped) *exec.Cmd {
	return exec.Command(compile(t, "libssh2", h.shared, "-lssh2"), "exec "+h.command)
}

func startJSch(t *testing.T, h *helped) *exec.Cmd {
	const jar = "/usr/share/java/jsch.jar"
	once(t, filepath.Join(h.shared, "JschClient.class"), exec.Command("javac", "-cp", jar, "-d", h.shared, "testdata/clients/JschClient.java"))
	return exec.Command("java", "-XX:TieredStopAtLevel=1", "-cp", h.shared+":"+jar, "JschClient", h.command)
}

func compile(t *testing.T, name, dir string, libs ...string) string {
	program := filepath.Join(dir, name)
	once(t, program, exec.Command("gcc", append([]string{"-O1", "-Wall", "-Werror", "-o", program, "testdata/clients/" + name + ".c"}, libs...)...))
	return program
}

var compiling sync.Mutex

// once runs a compiler unless what it makes is there.
func once(t *testing.T, makes string, cmd *exec.Cmd) {
	t.Helper()
	compiling.Lock()
	defer compiling.Unlock()
	if _, err := os.Stat(makes); err != nil {
		mustRun(t, cmd)
	}
}

func mustRun(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// startXCrypto is this program again: TestXCryptoHelped.
func startXCrypto(_ *testing.T, h *helped) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestXCryptoHelped$", "-test.v")
	cmd.Env = []string{"ADIT_TEST_HELPER=" + h.command}
	return cmd
}

// TestXCryptoHelped is no test of its own.
func TestXCryptoHelped(t *testing.T) {
	command := os.Getenv("ADIT_TEST_HELPER")
	if command == "" {
		return // part of TestClients
	}
	fmt.Println(xcryptoHelped(command))
}

func xcryptoHelped(command string) string {
	cmd := exec.Command("/bin/sh", "-c", "exec "+command)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err.Error()
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err.Error()
	}
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	defer cmd.Wait()
	defer in.Close()
	c, _, _, err := gossh.NewClientConn(stdioConn{Reader: out, WriteCloser: in}, "server", &gossh.ClientConfig{
		HostKeyCallback: gossh.InsecureIgnoreHostKey(), // as far as the handshake
	})
	if err == nil {
		c.Close()
	}
	if err == nil || strings.Contains(err.Error(), "unable to authenticate") {
		return "CONNECTED"
	}
	return "error: " + err.Error()
}

// stdioConn has what x/crypto needs of a net.Conn.
type stdioConn struct {
	io.Reader
	io.WriteCloser
	net.Conn
}

func (c stdioConn) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
func (c stdioConn) Write(b []byte) (int, error) { return c.WriteCloser.Write(b) }
func (c stdioConn) Close() error                { return c.WriteCloser.Close() }
func (c stdioConn) RemoteAddr() net.Addr        { return nil }
func (c stdioConn) LocalAddr() net.Addr         { return nil }

// TestClients runs each client in each case. A client that shows the text of a
// DISCONNECT must show what went wrong; with ProxyUseFdpass, the helper's
// standard error does.
func TestClients(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{HostKeys: []string{"ecdsa", "ed25519"}}) // JSch 0.1 knows ECDSA only
	forbidding, slow := refusingProxy(t), slowWay(t, server.Addr)
	full, refused, silent := testnet.FullBacklog(t), testpeer.RefusedAddr(t), testpeer.SilentTarget(t).Addr
	cases := []struct {
		name   string
		flags  string
		target string
		want   string // of what is shown; "" for a login
		term   bool   // the helper is ended by SIGTERM
	}{
		{"clean", "", server.Addr, "", false},
		{"slow", "", slow, "", false},
		{"unreachable", "--timeout 700ms", full, "adit: connect to ADDR: no answer within 700ms", false},
		{"silent", "--timeout 700ms", silent, "adit: wait for the server's version line: no answer within 700ms", false},
		{"refused", "", refused, "adit: connect to ADDR: connection refused", false},
		{"proxy refuses", "-X connect -x " + forbidding, server.Addr, "adit: connect to ADDR through HTTP proxy " + forbidding + ": HTTP status 403 Forbidden", false},
		{"TERM sent", "--timeout 1m", silent, "", true},
	}
	adit, err := exec.LookPath("adit")
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range sshClients {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			testpeer.Need(t, client.needs...)
			shared := t.TempDir()
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					h := &helped{server: server, dir: t.TempDir(), shared: shared}
					fromHelper := client.passes && c.want != ""
					if client.fdpass && c.name == "silent" {
						// With a descriptor the server's silence is the client's to notice.
						h.options = []string{"-o", "ConnectTimeout=1"}
						c.want, fromHelper = "Connection timed out during banner exchange", false
					}
					host, port, _ := net.SplitHostPort(c.target)
					flags, target := c.flags, c.target
					if client.fdpass {
						flags += " --fdpass"
						if c.term {
							target = full
							host, port, _ = net.SplitHostPort(full)
						}
					}
					h.command = strings.Join([]string{adit, "connect", flags, host, port}, " ")
					pid := filepath.Join(h.dir, "pid")
					if c.term {
						script := filepath.Join(h.dir, "helper")
						text := fmt.Sprintf("#!/bin/sh\nmkfifo %s.sync\necho $$ >%s\nmv %s %s.done\nexec %s\n", pid, pid, pid, pid, h.command)
						if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
							t.Fatal(err)
						}
						h.command = script
					}
					out, took := runClient(t, client.start(t, h), h.dir, func() {
						if c.term {
							terminate(t, pid+".done")
						}
					})
					want := regexp.QuoteMeta(strings.Replace(c.want, "ADDR", target, 1))
					if toldToo := strings.Replace(want, "adit:", "adit: error:", 1); fromHelper && !shown(out, toldToo) {
						t.Errorf("its standard error is\n%s\nwant %q", out, toldToo)
					}
					switch {
					case c.term:
						if strings.Contains(out, "CONNECTED") {
							t.Errorf("it connected:\n%s", out)
						}
						t.Logf("after %v: %s", took, out)
					case c.want == "":
						if !strings.Contains(out, "CONNECTED") {
							t.Errorf("it did not connect:\n%s", out)
						}
					case (client.shows || h.options != nil) && !shown(out, want):
						t.Errorf("it shows\n%s\nwant %q", out, c.want)
					case strings.Contains(out, "CONNECTED"):
						t.Errorf("it connected:\n%s", out)
					default:
						t.Logf("%s", out)
					}
				})
			}
		})
	}
}

// shown reports whether the client itself shows the text: what the helper says
// on standard error begins otherwise.
func shown(out, want string) bool { return regexp.MustCompile(want).MatchString(out) }

// runClient runs a client to its end, which must come, and returns what it says.
// meanwhile is called once it runs.
func runClient(t *testing.T, cmd *exec.Cmd, home string, meanwhile func()) (string, time.Duration) {
	t.Helper()
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(append(os.Environ(), "HOME="+home, "SSH_AUTH_SOCK=", "SHELL=/bin/sh"), cmd.Env...)
	cmd.WaitDelay = time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	meanwhile()
	cmd.Wait()
	if !stop() {
		t.Fatalf("it does not end:\n%s", out.text)
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	return string(out.text), time.Since(start)
}

// terminate sends SIGTERM to the process whose id a file has, once it is there,
// and waits until it has ended.
func terminate(t *testing.T, file string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	pid, helper := 0, ""
	for helper != "adit" {
		if b, err := os.ReadFile(file); err == nil {
			pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			helper = strings.TrimSpace(string(b))
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("the helper does not start")
		}
	}
	for range 20 { // until its handler is there, and it has begun to connect
		<-tick.C
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for { // gone, or a zombie that its client has not waited for
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			break
		}
		<-tick.C
		if time.Since(start) > patience {
			t.Fatal("the helper does not end at SIGTERM")
		}
	}
	if took := time.Since(start); took > time.Second { // 100 ms on a machine with nothing else to do
		t.Errorf("the helper took %v to end at SIGTERM", took)
	}
}

// refusingProxy is an HTTP proxy that forbids everything.
func refusingProxy(t *testing.T) string {
	return testnet.ServeTCP(t, func(c *net.TCPConn) {
		r, err := socks.Accept(context.Background(), c)
		if err != nil {
			return
		}
		r.Refuse(socks.Refusal{Status: 403, Text: "not from here"})
		io.Copy(io.Discard, c)
	})
}

// slowWay leads to a server, after a second.
func slowWay(t *testing.T, server string) string {
	return testnet.ServeTCP(t, func(c *net.TCPConn) {
		<-time.After(time.Second)
		far, err := net.Dial("tcp4", server)
		if err == nil {
			relay.Pipe(context.Background(), c, far.(*net.TCPConn), nil)
		}
	})
}
