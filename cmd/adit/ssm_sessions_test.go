//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// downloads runs several at once through a local port.
func downloads(t *testing.T, addr string, n int, size int64) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			if err := testpeer.Download(c, size); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// downloadsOver runs downloads until so many sessions have carried one each: those behind
// the first may come up after connections have begun.
func downloadsOver(t *testing.T, g *ssmgw.Gateway, addr string, sessions, n int, size int64) {
	t.Helper()
	for end := time.Now().Add(patience); busy(g, size) < sessions; {
		if time.Now().After(end) {
			t.Fatalf("%d sessions carried a download, want %d: %v bytes", busy(g, size), sessions, g.Carried())
		}
		downloads(t, addr, n, size)
	}
}

// busy is how many sessions carried more than a login does.
func busy(g *ssmgw.Gateway, least int64) (n int) {
	for _, bytes := range g.Carried() {
		if bytes >= least {
			n++
		}
	}
	return n
}

var sshForwarding = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// pooled is `adit ssh -N -L` over several sessions.
func pooled(t *testing.T, server *testpeer.Server, g *ssmgw.Gateway, target string, way ...string) (cmd *exec.Cmd, addr string) {
	t.Helper()
	args := append([]string{"ssh", "-F", "none", "-i", server.Key.Path, "-o", "StrictHostKeyChecking=accept-new", "-p", strconv.Itoa(server.Port()),
		"-l", server.User, "-N", "-L", "0:" + target}, way...)
	cmd = exec.Command("adit", args...)
	cmd.Env = append(os.Environ(), append(ssmEnv(t, g), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")...)
	return cmd, started(t, cmd, sshForwarding)
}

// Connections of -L are spread over as many sessions as are wanted, each with a
// login and a host key that is checked; one that ends is replaced; at the end AWS
// is told of all.
func TestSSMPool(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	target := testpeer.HashTarget(t)
	for name, way := range map[string][]string{
		"ssm://":       {"ssm://" + ssmNode + "?sessions=3"},
		"ProxyCommand": {"-o", "ProxyCommand=/nonexistent/adit ssm --sessions 3 %h %p", ssmNode},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: time.Millisecond}}
			cmd, addr := pooled(t, server, g, target.Addr, way...)
			downloadsOver(t, g, addr, 3, 6, 300_000)
			if n := len(g.Carried()); n != 3 {
				t.Errorf("%d sessions were started, want 3", n)
			}
			g.TerminateSession("tester-0000000000000002")
			g.Await(t, "StartSession", 4) // a second later
			downloadsOver(t, g, addr, 4, 3, 100_000)
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("status %v", err)
			}
			if n := g.Live(); n != 0 {
				t.Errorf("%d sessions live on", n)
			}
		})
	}
}

// A configuration with --sessions costs a shell nothing: what would be spread?
func TestSSMPoolIsForForwards(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	g := &ssmgw.Gateway{}
	cmd := exec.Command("adit", "ssh", "-F", "none", "-i", server.Key.Path, "-o", "StrictHostKeyChecking=accept-new", "-p", strconv.Itoa(server.Port()),
		"-l", server.User, "-R", "0:localhost:1", "ssm://"+ssmNode+"?sessions=3", "sleep 0.5")
	cmd.Env = append(os.Environ(), append(ssmEnv(t, g), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := len(g.Carried()); n != 1 {
		t.Errorf("%d sessions were started, want 1", n)
	}
}

// A passphrase is asked for once, however many sessions log in with the key.
func TestSSMPoolAsksOnce(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	target := testpeer.HashTarget(t)
	dir := t.TempDir()
	key, asked, script := filepath.Join(dir, "id"), filepath.Join(dir, "asked"), filepath.Join(dir, "askpass")
	plain, err := os.ReadFile(server.Key.Path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{key: string(plain), script: "#!/bin/sh\necho \"$1\" >>" + asked + "\necho secret\n"} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(key, 0o600)
	mustRun(t, exec.Command("ssh-keygen", "-q", "-p", "-f", key, "-P", "", "-N", "secret"))
	g := &ssmgw.Gateway{}
	cmd := exec.Command("adit", "ssh", "-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new", "-p", strconv.Itoa(server.Port()),
		"-l", server.User, "-N", "-L", "0:"+target.Addr, "ssm://"+ssmNode+"?sessions=3")
	cmd.Env = append(os.Environ(), append(ssmEnv(t, g), "HOME="+dir, "SSH_AUTH_SOCK=", "SSH_ASKPASS="+script, "SSH_ASKPASS_REQUIRE=force")...)
	downloadsOver(t, g, started(t, cmd, sshForwarding), 3, 6, 100_000)
	if questions, err := os.ReadFile(asked); strings.Count(string(questions), "\n") != 1 {
		t.Errorf("asked, with %v:\n%swant one question", err, questions)
	}
}

// A session that ends at another server gets nothing: its host key is another.
func TestSSMPoolChecksEachHostKey(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh-keygen")
	server, other := testpeer.SSHD(t, testpeer.SSHDOptions{}), testpeer.SSHD(t, testpeer.SSHDOptions{})
	target := testpeer.HashTarget(t)
	var dials atomic.Int64
	g := &ssmgw.Gateway{Agent: ssmgw.Agent{Dial: func(ctx context.Context, address string) (net.Conn, error) {
		if dials.Add(1) > 1 {
			address = other.Addr
		}
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}}}
	cmd := exec.Command("adit", "ssh", "-F", "none", "-i", server.Key.Path, "-o", "StrictHostKeyChecking=accept-new", "-p", strconv.Itoa(server.Port()),
		"-l", server.User, "-N", "-L", "0:"+target.Addr, "ssm://"+ssmNode+"?sessions=2")
	cmd.Env = append(os.Environ(), append(ssmEnv(t, g), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")...)
	var said lockedBuffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	addr := said.await(t, sshForwarding)
	said.await(t, regexp.MustCompile(`(adit: warning: session 2 of 2 is left out: handshake .* shows SHA256:\S+, want SHA256:)`))
	downloads(t, addr, 3, 100_000)
	if n := busy(g, 3*100_000); n != 1 {
		t.Errorf("%d sessions carried the downloads, want the first: %v", n, g.Carried())
	}
}

// Connections of --local are spread, too.
func TestSSMForwardSpreads(t *testing.T) {
	t.Parallel()
	target := testpeer.HashTarget(t)
	g := &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: time.Millisecond}}
	cmd := exec.Command("adit", "ssm", "--sessions", "3", "--local", "0", "--remote", target.Addr, ssmNode)
	cmd.Env = append(os.Environ(), ssmEnv(t, g)...)
	addr := started(t, cmd, regexp.MustCompile(`^adit: forwarding (127\.0\.0\.1:\d+) to `))
	downloads(t, addr, 6, 300_000)
	if n := busy(g, 2*300_000); n != 3 {
		t.Errorf("%d sessions carried two downloads, want 3: %v", n, g.Carried())
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if n := g.Live(); n != 0 {
		t.Errorf("%d sessions live on", n)
	}
}

// A session that AWS ends under a download is no proper end of it, and the next
// connection gets a session of its own.
func TestSSMForwardWhenTheSessionEnds(t *testing.T) {
	t.Parallel()
	target := testpeer.HashTarget(t)
	for _, version := range []string{"3.3.987.0", "3.0.196.0"} {
		t.Run(version, func(t *testing.T) {
			g := &ssmgw.Gateway{Agent: ssmgw.Agent{Version: version, Sleep: time.Millisecond}}
			cmd := exec.Command("adit", "ssm", "--local", "0", "--remote", target.Addr, ssmNode)
			cmd.Env = append(os.Environ(), ssmEnv(t, g)...)
			addr := started(t, cmd, regexp.MustCompile(`^adit: forwarding (127\.0\.0\.1:\d+) to `))
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			first := &firstRead{Conn: c, begun: make(chan struct{})}
			ended := make(chan error, 1)
			go func() { ended <- testpeer.Download(first, 50_000_000) }()
			<-first.begun
			g.TerminateAll()
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "connection reset") {
				t.Errorf("the download ended with %v, want a reset", err)
			}
			downloads(t, addr, 1, 10_000)
		})
	}
}

// firstRead tells of the first bytes.
type firstRead struct {
	net.Conn
	begun chan struct{}
	once  sync.Once
}

func (c *firstRead) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.once.Do(func() { close(c.begun) })
	return n, err
}

// lockedBuffer is what a program has said by now.
type lockedBuffer struct {
	mu   sync.Mutex
	said bytes.Buffer // guarded by mu
	more chan struct{}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.said.Write(p)
}

// await waits until it has said something, and returns the part in parentheses.
func (b *lockedBuffer) await(t *testing.T, what *regexp.Regexp) string {
	t.Helper()
	limit := time.After(patience)
	for {
		b.mu.Lock()
		m := what.FindSubmatch(b.said.Bytes())
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more, said := b.more, b.said.String()
		b.mu.Unlock()
		if m != nil {
			return string(m[1])
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("it does not say %v:\n%s", what, said)
		}
	}
}

// Each session's login has a pushed key of its own.
func TestSSMPoolPushesKeys(t *testing.T) {
	t.Parallel()
	p := newPushable(t)
	target := testpeer.HashTarget(t)
	cmd := exec.Command("adit", "ssh", "-F", "none", "-p", strconv.Itoa(p.server.Port()), "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes",
		"--push-key", "eic", "-N", "-L", "0:"+target.Addr, "ssm://"+p.User+"@"+ssmNode+"?sessions=3")
	cmd.Env = append(os.Environ(), append(ssmEnv(t, p.gateway), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")...)
	downloadsOver(t, p.gateway, started(t, cmd, sshForwarding), 3, 6, 100_000)
	if n := len(p.gateway.Pushed()); n != 3 {
		t.Errorf("%d keys were pushed, want one for each login", n)
	}
}

// A GUI and its pool of connections: many at once over one session, whose WebSocket
// ends meanwhile. The agent sleeps, as AWS's: what is lost then it sends again at ten
// messages a second.
func TestSSMForwardsManyAtOnce(t *testing.T) {
	t.Parallel()
	target := testpeer.HashTarget(t)
	g := &ssmgw.Gateway{Agent: ssmgw.Agent{Sleep: time.Millisecond}, Faults: ssmgw.Faults{Delay: time.Millisecond, CloseAfter: 600_000, Closes: 1}}
	cmd := exec.Command("adit", "ssm", "--local", "0", "--remote", target.Addr, ssmNode)
	cmd.Env = append(os.Environ(), ssmEnv(t, g)...)
	addr := started(t, cmd, regexp.MustCompile(`^adit: forwarding (127\.0\.0\.1:\d+) to `))
	downloads(t, addr, 150, 8000)
	if n := len(g.Carried()); n != 1 {
		t.Errorf("%d sessions were started, want 1", n)
	}
}

// A program that is interrupted while its sessions start ends at once, with a word of
// nothing, and leaves none at AWS.
func TestSSMForwardInterruptedAtItsStart(t *testing.T) {
	t.Parallel()
	g := &ssmgw.Gateway{Agent: ssmgw.Agent{Start: time.Second}}
	cmd := exec.Command("adit", "ssm", "--sessions", "3", "--local", "0", "--remote", "1", ssmNode)
	cmd.Env = append(os.Environ(), ssmEnv(t, g)...)
	var said lockedBuffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.Await(t, "open", 3)
	began := time.Now()
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it ended after %v", took)
	}
	if text := said.said.String(); text != "" {
		t.Errorf("it says\n%s", text)
	}
	if n := g.Live(); n != 0 {
		t.Errorf("%d sessions live on", n)
	}
}

// A session whose key AWS does not take now, or the server, is tried again; one whose key
// AWS never takes is left out.
func TestSSMPoolPushesAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trouble string
		said    string
		want    int // sessions that carry something
	}{
		"for now":    {"ThrottlingException Rate exceeded", `(adit: warning: session 2 of 2 is not there, and is tried again: )`, 2},
		"for good":   {"AccessDeniedException no", `(adit: warning: session 2 of 2 is left out: )`, 1},
		"the server": {"", `(adit: warning: session 2 of 2 is not there, and is tried again: )`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPushable(t)
			target := testpeer.HashTarget(t)
			p.gateway.Trouble = func(verb string, times int) string {
				if verb == "ec2-instance-connect:SendSSHPublicKey" && times == 2 {
					return c.trouble
				}
				return ""
			}
			if authorize, calls := p.gateway.Authorize, new(atomic.Int64); c.trouble == "" {
				p.gateway.Authorize = func(user, key string) {
					if calls.Add(1) != 2 {
						authorize(user, key)
					}
				}
			}
			cmd := exec.Command("adit", "ssh", "-F", "none", "-p", strconv.Itoa(p.server.Port()), "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes",
				"--push-key", "eic", "-N", "-L", "0:"+target.Addr, "ssm://"+p.User+"@"+ssmNode+"?sessions=2")
			cmd.Env = append(os.Environ(), append(ssmEnv(t, p.gateway), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")...)
			var said lockedBuffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Signal(syscall.SIGTERM)
			addr := said.await(t, sshForwarding)
			said.await(t, regexp.MustCompile(c.said))
			if c.want == 2 {
				p.gateway.Await(t, "SendSSHPublicKey", 3) // a second later
				p.gateway.Await(t, "open", 3)
			}
			limit := time.After(patience)
			for downloads(t, addr, 4, 100_000); busy(p.gateway, 100_000) < c.want; downloads(t, addr, 4, 100_000) {
				select { // it logs in
				case <-limit:
					t.Fatalf("%d sessions carried a download, want %d: %v", busy(p.gateway, 100_000), c.want, p.gateway.Carried())
				default:
				}
			}
			if c.want == 1 && strings.Count(strings.Join(p.gateway.Events(), " "), "SendSSHPublicKey") != 2 {
				t.Errorf("it was tried again: %q", p.gateway.Events())
			}
		})
	}
}

// A session of --local that AWS does not start now is tried again, and carries its part
// once it is there.
func TestSSMForwardTriesAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trouble, said string
		want          int
	}{
		"for now":  {"ThrottlingException Rate exceeded", "session [23] of 3 is not there, and is tried again: ", 3},
		"for good": {"AccessDeniedException no", "session [23] of 3 is left out: ", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := testpeer.HashTarget(t)
			g := &ssmgw.Gateway{Trouble: func(verb string, times int) string {
				if verb == "ssm:StartSession" && times == 3 {
					return c.trouble
				}
				return ""
			}}
			cmd := exec.Command("adit", "ssm", "--sessions", "3", "--local", "0", "--remote", target.Addr, ssmNode)
			cmd.Env = append(os.Environ(), ssmEnv(t, g)...)
			var said lockedBuffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Signal(syscall.SIGTERM)
			said.await(t, regexp.MustCompile("(adit: warning: "+c.said+")"))
			addr := said.await(t, regexp.MustCompile(`adit: forwarding (127\.0\.0\.1:\d+) to `))
			g.Await(t, "open", c.want)
			limit := time.After(patience)
			for downloads(t, addr, 6, 50_000); busy(g, 50_000) < c.want; downloads(t, addr, 6, 50_000) {
				select { // it does its handshake
				case <-limit:
					t.Fatalf("%d sessions carried a download, want %d: %v", busy(g, 50_000), c.want, g.Carried())
				default:
				}
			}
			if n := len(g.Started()); n != c.want {
				t.Errorf("%d sessions were started, want %d", n, c.want)
			}
		})
	}
}

// A connection whose session has ended, and can't be replaced, takes another one.
func TestSSMForwardTakesAnotherSession(t *testing.T) {
	t.Parallel()
	echo := testpeer.EchoTarget(t)
	g := &ssmgw.Gateway{Trouble: func(verb string, times int) string {
		if verb == "ssm:StartSession" && times > 2 {
			return "AccessDeniedException no"
		}
		return ""
	}}
	cmd := exec.Command("adit", "ssm", "--sessions", "2", "--local", "0", "--remote", echo.Addr, ssmNode)
	cmd.Env = append(os.Environ(), ssmEnv(t, g)...)
	addr := started(t, cmd, forwardingTo)
	ended := make(chan error, 2)
	for range 2 { // one over each
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		go func() { // ends with c
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
	}
	g.TerminateSession("tester-0000000000000002")
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "connection reset") {
		t.Errorf("a connection whose session was ended: %v, want a reset", err)
	}
	for range 4 {
		if got := exchange(t, addr, "over there"); got != "over there" {
			t.Errorf("got %q", got)
		}
	}
	if n := strings.Count(strings.Join(g.Events(), " "), "StartSession"); n < 3 {
		t.Errorf("no session was asked for in place of the one that ended: %q", g.Events())
	}
}
