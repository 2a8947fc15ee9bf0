//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// Connection sharing between OpenSSH's ssh and adit, as master and as client, with
// OpenSSH's sshd as the server.

// sharing is two programs that share a connection.
type sharing struct {
	t              *testing.T
	s              *testpeer.Server
	dir            string
	master, client []string // how they are called
	env            []string
	config         string
	socket         string
}

var callAs = map[string][]string{"ssh": {"ssh"}, "adit": {"adit", "ssh"}}

// eachPair runs a test for all pairs of master and client, with at least one adit.
func eachPair(t *testing.T, do func(t *testing.T, p *sharing)) {
	testpeer.Need(t, "sshd", "ssh", "ssh-keygen")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"MaxSessions 200", "MaxStartups 200", "AcceptEnv ADIT_*"}})
	for _, pair := range [][2]string{{"adit", "ssh"}, {"ssh", "adit"}, {"adit", "adit"}} {
		t.Run("master "+pair[0]+", client "+pair[1], func(t *testing.T) {
			do(t, newSharing(t, s, pair[0], pair[1]))
		})
	}
}

func newSharing(t *testing.T, s *testpeer.Server, master, client string) *sharing {
	dir := testnet.SocketDir(t)
	p := &sharing{t: t, s: s, dir: dir, master: callAs[master], client: callAs[client], config: filepath.Join(dir, "config"), socket: filepath.Join(dir, "cm")}
	text := fmt.Sprintf("Host server\nHostName %s\nPort %d\nUser %s\nIdentityFile %s\nIdentityAgent none\nUserKnownHostsFile %s\nGlobalKnownHostsFile /dev/null\nControlPath %s\nSendEnv ADIT_*\nBatchMode yes\n",
		s.Host(), s.Port(), s.User, s.Key.Path, s.KnownHosts(t), p.socket)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// command is a command line of one of the two.
func (p *sharing) command(program []string, args ...string) *exec.Cmd {
	cmd := exec.Command(program[0], append(append(program[1:len(program):len(program)], "-F", p.config), args...)...)
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "SSH_AUTH_SOCK=", "ADIT_SENT=sent")
	cmd.Env = append(cmd.Env, p.env...)
	cmd.WaitDelay = patience
	return cmd
}

// background starts a master, waits until it listens, and ends it with the test.
func (p *sharing) background() *exec.Cmd {
	p.t.Helper()
	cmd := p.command(p.master, "-v", "-M", "-N", "server")
	said := new(output)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, _, err := said.await(regexp.MustCompile(`Entering interactive session|is listening`), 0); err != nil {
		p.t.Fatal(err)
	}
	return cmd
}

// watch returns a function that waits until the master has ended.
func (p *sharing) watch() (ended func()) {
	p.t.Helper()
	nc, err := net.Dial("unix", p.socket)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { nc.Close() })
	return func() {
		nc.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Error("the master does not end")
		}
	}
}

// told is how a command ended and what it said.
type told struct {
	out, err string
	status   int
}

// run runs a client with an input.
func (p *sharing) run(input string, args ...string) told {
	p.t.Helper()
	cmd := p.command(p.client, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	status, err := exitStatusOf(cmd.Run())
	if err != nil {
		p.t.Fatalf("%v: %v", args, err)
	}
	return told{out.String(), errs.String(), status}
}

func (p *sharing) expect(want told, input string, args ...string) {
	p.t.Helper()
	got := p.run(input, args...)
	for text, same := range map[string]bool{"output": got.out == want.out, "status": got.status == want.status,
		"messages": got.err == want.err || want.err != "" && strings.Contains(got.err, want.err)} {
		if !same {
			p.t.Errorf("%s: the %s: got %+v, want %+v", strings.Join(args, " "), text, got, want)
		}
	}
}

// echoes sends a line to an echo and reads it back.
func echoes(addr string) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	io.WriteString(nc, "echo\n")
	got := make([]byte, 5)
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != "echo\n" {
		return fmt.Errorf("got %q, %v", got, err)
	}
	return nil
}

// pipes starts a command.
func pipes(t *testing.T, cmd *exec.Cmd) (in io.WriteCloser, out io.ReadCloser) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return in, out
}

// takenPort is a port that nobody else can listen on, by either family.
func takenPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if v6, err := net.Listen("tcp6", "[::1]:"+portOf(l.Addr())); err == nil {
		t.Cleanup(func() { v6.Close() })
	}
	return portOf(l.Addr())
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
