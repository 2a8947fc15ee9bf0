//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/socks"
)

// usedProxy is a proxy and how it is named.
type usedProxy struct {
	name     string
	start    func(*testing.T) *testpeer.Proxy
	protocol string // -X
}

var usedProxies = []usedProxy{
	{"microsocks", func(t *testing.T) *testpeer.Proxy { return testpeer.MicroSocks(t, "", "") }, "5"},
	{"microsocks, login", func(t *testing.T) *testpeer.Proxy { return testpeer.MicroSocks(t, "joe", "se:cr@t") }, "5"},
	{"danted", func(t *testing.T) *testpeer.Proxy { return testpeer.Dante(t) }, "5"},
	{"danted, SOCKS4", func(t *testing.T) *testpeer.Proxy { return testpeer.Dante(t) }, "4"},
	{"tinyproxy", func(t *testing.T) *testpeer.Proxy { return testpeer.Tinyproxy(t, "", "") }, "connect"},
	{"tinyproxy, login", func(t *testing.T) *testpeer.Proxy { return testpeer.Tinyproxy(t, "joe", "secret") }, "connect"},
}

// Stock ssh logs in through each proxy, with a pipe and with the descriptor; and
// with a wrong login it is told so.
func TestConnectThroughProxies(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "ssh", "sshd", "microsocks", "danted", "tinyproxy")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	adit, err := exec.LookPath("adit")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range usedProxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			proxy := p.start(t)
			command := fmt.Sprintf("%s connect -X %s -x %s", adit, p.protocol, proxy.Addr)
			if proxy.User != "" {
				command += " -P " + proxy.User
			}
			for _, fdpass := range []string{"", " --fdpass"} {
				for _, password := range []string{proxy.Password, "wrong"} {
					if proxy.User == "" && password != "" {
						continue
					}
					h := &helped{server: server, dir: t.TempDir(), command: command + fdpass + " %h %p"}
					start := startOpenSSH
					if fdpass != "" {
						start = startOpenSSHFdpass
					}
					cmd := start(t, h)
					cmd.Env = []string{"ADIT_PROXY_PASSWORD=" + password}
					out, _ := runClient(t, cmd, h.dir, func() {})
					switch {
					case password == proxy.Password && !strings.Contains(out, "CONNECTED"):
						t.Errorf("%s: it does not connect:\n%s\nthe proxy says\n%s", h.command, out, proxy.Log())
					case password != proxy.Password && !strings.Contains(out, "the proxy refuses the user or the password"):
						t.Errorf("%s: with a wrong password it says\n%s", h.command, out)
					}
					if proxy.Password != "" && strings.Contains(out, proxy.Password) {
						t.Errorf("it tells the password:\n%s", out)
					}
				}
			}
		})
	}
}

// adit ssh goes through a proxy itself.
func TestSSHThroughProxy(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "microsocks")
	server, proxy := testpeer.SSHD(t, testpeer.SSHDOptions{}), testpeer.MicroSocks(t, "joe", "secret")
	for _, tt := range []struct{ option, env, want string }{
		{"AditProxy=joe:secret@" + proxy.Addr, "", "CONNECTED"},
		{"aditproxy socks5://joe@" + proxy.Addr, "ADIT_PROXY_PASSWORD=secret", "CONNECTED"},
		{"AditProxy=env", "ALL_PROXY=socks5h://joe:secret@" + proxy.Addr, "CONNECTED"},
		{"AditProxy=none", "ALL_PROXY=socks5h://joe:wrong@" + proxy.Addr, "CONNECTED"},
		{"AditProxy=env", "ALL_PROXY=socks5h://joe:wrong@" + proxy.Addr, "through SOCKS5 proxy " + proxy.Addr + ": the proxy refuses the user or the password"},
		{"AditProxy=" + proxy.Addr, "", "the proxy wants a login"},
		{"AditProxy=ftp://" + proxy.Addr, "", `unknown scheme "ftp"`},
		{"AditProxyX=1", "", "aditproxyx: the keyword is not known"},
	} {
		cmd := exec.Command("adit", "ssh", "-F", "none", "-i", server.Key.Path, "-p", strconv.Itoa(server.Port()), "-l", server.User,
			"-o", "UserKnownHostsFile="+server.KnownHosts(t), "-o", tt.option, server.Host(), "echo CONNECTED")
		cmd.Env = []string{tt.env}
		out, _ := runClient(t, cmd, t.TempDir(), func() {})
		if !strings.Contains(out, tt.want) || strings.Contains(out, "secret") {
			t.Errorf("-o %s %s: it says\n%s\nwant %q", tt.option, tt.env, out, tt.want)
		}
	}
	if log := proxy.Log(); strings.Count(log, "connected to") < 3 {
		t.Errorf("the proxy was not used three times:\n%s", log)
	}
}

// adit connect does what nc does, through the same proxies and ours.
func TestConnectLikeNC(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "nc", "danted")
	ours := anyProxy(t, nil)
	echo := testpeer.EchoTarget(t).Addr
	host, port, _ := net.SplitHostPort(echo)
	// microsocks and tinyproxy close all at the first EOF.
	ways := [][]string{{}, {"-X", "4", "-x", ours}, {"-X", "5", "-x", ours}, {"-X", "connect", "-x", ours},
		{"-X", "5", "-x", testpeer.Dante(t).Addr}}
	for _, way := range ways {
		for _, program := range [][]string{{"nc", "-N"}, {"adit", "connect"}, {"adit", "connect", "--no-inband"}} {
			for _, size := range []int{5, 3 << 20} {
				in := bytes.Repeat([]byte("x"), size)
				args := append(append(program[1:len(program):len(program)], way...), host, port)
				cmd := exec.Command(program[0], args...)
				cmd.Stdin = bytes.NewReader(in)
				stop := time.AfterFunc(patience, func() { cmd.Process.Kill() })
				out, err := cmd.Output()
				stop.Stop()
				if err != nil || !bytes.Equal(out, in) {
					t.Errorf("%s %v: %d bytes came back of %d, %v", program[0], args, len(out), size, err)
				}
			}
		}
	}
}

// The end of what the server sends comes through a pipe while the client still has
// something to send.
func TestConnectServerEndsFirst(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	server := testnet.ServeTCP(t, func(c *net.TCPConn) {
		io.WriteString(c, "hello")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	host, port, _ := net.SplitHostPort(server)
	cmd := exec.Command("adit", "connect", "--no-inband", host, port)
	in, out := pipes(t, cmd)
	stop := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer stop.Stop()
	if b, err := io.ReadAll(out); string(b) != "hello" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	io.WriteString(in, "still there")
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if b := <-got; b != "still there" {
		t.Errorf("the server read %q", b)
	}
}

// anyProxy speaks all protocols, with TLS in front if wanted.
func anyProxy(t *testing.T, config *tls.Config) string {
	return testnet.ServeTCP(t, func(c *net.TCPConn) {
		var client relay.Conn = c
		if config != nil {
			client = tls.Server(c, config)
		}
		r, err := socks.Accept(context.Background(), client)
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port))))
		if err != nil {
			r.Refuse(socks.Refusal{Reply: socks.ConnectionRefused, Status: 502, Text: err.Error()})
			return
		}
		r.Grant(netip.AddrPort{})
		relay.Pipe(context.Background(), client, far.(*net.TCPConn), r.Rest())
	})
}

// tlsProxy is anyProxy with TLS, and a file that has its authority.
func tlsProxy(t *testing.T) (addr, ca string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	ca = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return anyProxy(t, &tls.Config{Certificates: s.TLS.Certificates}), ca
}

// Through an https proxy ssh gets a socket that a process of its own pumps. It
// ends with ssh, and does not come to be when the server is not reached.
func TestFdpassPump(t *testing.T) {
	testpeer.Need(t, "ssh", "sshd")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	proxy, ca := tlsProxy(t)
	adit, err := exec.LookPath("adit")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ flags, want string }{
		{"--fdpass --proxy-ca " + ca, "CONNECTED"},
		{"--proxy-ca " + ca, "CONNECTED"},
		{"--fdpass", "start TLS with proxy"},
		{"", "start TLS with proxy"},
	} {
		h := &helped{server: server, dir: t.TempDir(), command: fmt.Sprintf("%s connect %s -x https://%s %%h %%p", adit, tt.flags, proxy)}
		start := startOpenSSH
		if strings.Contains(tt.flags, "fdpass") {
			start = startOpenSSHFdpass
		}
		if out, _ := runClient(t, start(t, h), h.dir, func() {}); !strings.Contains(out, tt.want) {
			t.Errorf("%s: it says\n%s\nwant %q", h.command, out, tt.want)
		}
		awaitNone(t, pumpVerb)
	}

	// It ends when the server does, too, and when who holds the other end is
	// killed while nothing moves.
	silent := testpeer.SilentTarget(t).Addr
	host, port, _ := net.SplitHostPort(silent)
	cmd := exec.Command("adit", "fdrecv", "--relay", adit, "connect", "--fdpass", "--proxy-ca", ca, "-x", "https://"+proxy, host, port)
	var out output
	cmd.Stderr = &out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := out.await(regexp.MustCompile(`(?s)stream socket, unix.*1 descriptors, 1 bytes`), 0); err != nil {
		t.Error(err)
	}
	if n := len(processes(t, pumpVerb)); n != 1 {
		t.Errorf("%d processes pump, want 1", n)
	}
	cmd.Process.Kill()
	cmd.Wait()
	awaitNone(t, pumpVerb)
}

// processes are the ids of those adits of this test that have word as an argument.
func processes(t *testing.T, word string) (found []int) {
	t.Helper()
	adit, err := exec.LookPath("adit")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, _ := os.ReadFile(f) // it may have ended
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(f), "exe"))
		if exe == adit && strings.Contains(string(b), "\x00"+word+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			found = append(found, pid)
		}
	}
	return found
}

// awaitNone waits until there is no such process.
func awaitNone(t *testing.T, word string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); len(processes(t, word)) > 0; <-tick.C {
		if time.Since(start) > patience {
			t.Fatalf("%s is left: %v", word, processes(t, word))
		}
	}
}

// What fdrecv tells of what a helper passes, or does not.
func TestFdrecv(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "nc")
	greeting := testpeer.GreetingTarget(t, "SSH-2.0-early\r\n").Addr
	host, port, _ := net.SplitHostPort(greeting)
	proxy := anyProxy(t, nil)
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		check  func(received) bool
	}{
		{"nc -F", []string{"nc", "-F", host, port}, 0, func(r received) bool {
			return r.Descriptors == 1 && r.Bytes == 1 && r.Peer == greeting && r.Family == "inet" && r.Kind == "stream socket"
		}},
		{"connect", []string{"adit", "connect", "--fdpass", host, port}, 0, func(r received) bool {
			return r.Descriptors == 1 && r.Bytes == 1 && r.Peer == greeting && !r.NonBlocking && !r.CloseOnExec && r.ExitStatus == 0
		}},
		{"connect by a command line", []string{"adit connect --fdpass -X connect -x " + proxy + " " + host + " " + port}, 0, func(r received) bool {
			return r.Descriptors == 1 && r.Peer == proxy && r.Local != ""
		}},
		{"text", []string{"echo", "connected"}, 255, func(r received) bool {
			return r.Descriptors == 0 && r.Bytes == 10 && r.Text == "connected\n"
		}},
		{"nothing", []string{"exit 3"}, 255, func(r received) bool { return r.Descriptors == 0 && r.ExitStatus == 127 || r.ExitStatus == 3 }},
		{"never ends", []string{"sleep", "1000"}, 255, func(r received) bool { return r.ExitStatus == -1 && strings.Contains(r.Ended, "killed") }},
		{"a pipe, and a second descriptor", []string{"/usr/bin/python3", "-c", `
import array, os, socket
s = socket.socket(fileno=1)
s.sendmsg([b"\0and text"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [os.pipe()[0], 2]))])`}, 0, func(r received) bool {
			return r.Descriptors == 2 && r.Bytes == 9 && r.Kind == "pipe" && r.Text == "and text"
		}},
	} {
		timeout := "30s"
		if tt.name == "never ends" {
			timeout = "200ms"
		}
		cmd := exec.Command("adit", append([]string{"fdrecv", "--json", "--timeout", timeout}, tt.args...)...)
		out, err := cmd.Output()
		status, err := exitStatusOf(err)
		var r received
		if jsonErr := json.Unmarshal(out, &r); err != nil || jsonErr != nil || status != tt.status || !tt.check(r) {
			t.Errorf("%s: exit status %d, want %d; %v, %v\n%s", tt.name, status, tt.status, err, jsonErr, out)
		}
	}
	// What came with the proxy's answer is there.
	for _, protocol := range []string{"4", "5", "connect"} {
		cmd := exec.Command("adit", "fdrecv", "--relay", "adit", "connect", "--fdpass", "-X", protocol, "-x", proxy, host, port)
		if out, err := cmd.Output(); string(out) != "SSH-2.0-early\r\n" || err != nil {
			t.Errorf("-X %s: %q, %v", protocol, out, err)
		}
	}
}

// Many runs leave no process, and one that hands descriptors on keeps none.
func TestConnectManyTimes(t *testing.T) {
	runs := 200
	if text := os.Getenv("ADIT_RUNS"); text != "" { // make full
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("ADIT_RUNS: %v", err)
		}
		runs = n
	}
	greeting := testpeer.GreetingTarget(t, "hello").Addr
	host, port, _ := net.SplitHostPort(greeting)
	proxy, ca := tlsProxy(t)
	before := testnet.Descriptors(t)
	for i := range runs {
		args := []string{"connect", "--fdpass", host, port}
		if i%20 == 0 {
			args = append(args, "-x", "https://"+proxy, "--proxy-ca", ca)
		}
		_, f, err := receiveDescriptor(t.Context(), append([]string{"adit"}, args...))
		if err != nil || f == nil {
			t.Fatalf("run %d: %v", i, err)
		}
		f.Close()
	}
	awaitNone(t, pumpVerb)
	awaitNone(t, "--fdpass")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); testnet.Descriptors(t) > before; <-tick.C { // the proxy's own end later
		if time.Since(start) > patience {
			t.Fatalf("%d descriptors are open after %d runs, %d before", testnet.Descriptors(t), runs, before)
		}
	}
}
