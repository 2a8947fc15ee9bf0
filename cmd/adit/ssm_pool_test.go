//go:build linux

package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// pooled is `adit ssh -N -L` over several sessions.
func pooled(t *testing.T, server *testpeer.Server, g *ssmgw.Gateway, target string, way ...string) *exec.Cmd {
	t.Helper()
	return ssmProgram(t, g, append([]string{"ssh", "-F", "none", "-i", server.Key.Path, "-o", "StrictHostKeyChecking=accept-new", "-p", strconv.Itoa(server.Port()),
		"-l", server.User, "-N", "-L", "0:" + target}, way...)...)
}

// pooled is the same with a pushed key for each session.
func (p *pushable) pooled(t *testing.T, target, sessions string) *exec.Cmd {
	t.Helper()
	return ssmProgram(t, p.gateway, "ssh", "-F", "none", "-p", strconv.Itoa(p.server.Port()), "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes",
		"--push-key", "eic", "-N", "-L", "0:"+target, "ssm://"+p.User+"@"+ssmNode+"?sessions="+sessions)
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
			cmd := pooled(t, server, g, target.Addr, way...)
			addr := started(t, cmd, sshForwarding)
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
	cmd := ssmProgram(t, g, "ssh", "-F", "none", "-i", server.Key.Path, "-o", "StrictHostKeyChecking=accept-new", "-p", strconv.Itoa(server.Port()),
		"-l", server.User, "-R", "0:localhost:1", "ssm://"+ssmNode+"?sessions=3", "sleep 0.5")
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
	_, said := launch(t, pooled(t, server, g, target.Addr, "ssm://"+ssmNode+"?sessions=2"))
	addr := said.await(t, sshForwarding)
	said.await(t, regexp.MustCompile(`(adit: warning: session 2 of 2 is left out: handshake .* shows SHA256:\S+, want SHA256:)`))
	downloads(t, addr, 3, 100_000)
	if n := busy(g, 3*100_000); n != 1 {
		t.Errorf("%d sessions carried the downloads, want the first: %v", n, g.Carried())
	}
}

// Each session's login has a pushed key of its own.
func TestSSMPoolPushesKeys(t *testing.T) {
	t.Parallel()
	p := newPushable(t)
	target := testpeer.HashTarget(t)
	downloadsOver(t, p.gateway, started(t, p.pooled(t, target.Addr, "3"), sshForwarding), 3, 6, 100_000)
	if n := len(p.gateway.Pushed()); n != 3 {
		t.Errorf("%d keys were pushed, want one for each login", n)
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
			_, said := launch(t, p.pooled(t, target.Addr, "2"))
			addr := said.await(t, sshForwarding)
			said.await(t, regexp.MustCompile(c.said))
			if c.want == 2 {
				p.gateway.Await(t, "SendSSHPublicKey", 3) // a second later
				p.gateway.Await(t, "open", 3)
			}
			downloadsOver(t, p.gateway, addr, c.want, 4, 100_000) // it logs in
			if c.want == 1 && strings.Count(strings.Join(p.gateway.Events(), " "), "SendSSHPublicKey") != 2 {
				t.Errorf("it was tried again: %q", p.gateway.Events())
			}
		})
	}
}
