//go:build unix

package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/knownhosts"
)

// The other end of these terminals is sshd's, with a shell whose prompt is "R> ".

// shellAt returns the command line of a shell at s.
func shellAt(s *testpeer.Server, known string, more ...string) []string {
	args := []string{"ssh", "-p", strconv.Itoa(s.Port()), "-i", s.Key.Path, "-o", "UserKnownHostsFile=" + known, "-o", "RequestTTY=yes"}
	args = append(args, more...)
	return append(args, s.User+"@"+s.Host(), "PS1='R> ' exec sh -i")
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	known := s.KnownHosts(t)
	const closed = `Connection to 127\.0\.0\.1 closed\.\r\n`
	for _, tt := range []struct {
		name   string
		status int
		do     func(*console)
	}{
		{"the exit status", 3, func(c *console) {
			c.say("exit 3")
			c.see(closed)
		}},
		{"its type, and a size that changes", 0, func(c *console) {
			c.say(`echo on $TERM; sh -c "trap 'stty size; exit' WINCH; stty size; echo waiting; while :; do sleep 0.1; done"`)
			c.see(`on vt100\r\n24 80\r\nwaiting\r\n$`)
			if err := pty.Setsize(c.tty, &pty.Winsize{Cols: 101, Rows: 33}); err != nil {
				c.t.Fatal(err)
			}
			c.see(`33 101\r\n`)
			c.say("exit 0")
		}},
		{"keys go through", 0, func(c *console) {
			c.say(`sh -c "trap 'exit 42' INT; echo waiting; while :; do sleep 0.1; done"`)
			c.see(`waiting\r\n$`)
			c.press(ctrlC)
			c.see(`R> $`)
			c.say("echo status $?; read x; echo got $x; stty raw -echo; echo ready; head -c 4 | od -An -tx1; stty sane; exit 0")
			c.see(`status 42\r\n`)
			c.say("one\x7f\x7fr")
			c.see(`got or\r\nready\n$`)
			c.press("\x00\xff\x1a\x11")
			c.see(` 00 ff 1a 11`)
		}},
		{"end of input", 0, func(c *console) {
			c.press(ctrlD)
			c.see(closed)
		}},
		{"~.", 255, func(c *console) {
			c.say("")
			c.see(`R> $`)
			c.press("~.")
			c.see(`~\.\r\n` + closed)
		}},
		{"~?, ~#, ~v and ~~", 0, func(c *console) {
			c.press("~?")
			c.see(`~\?\r\nSupported escape sequences:\r\n ~\.   - terminate connection \(and any multiplexed sessions\)\r\n`)
			c.press("~#")
			c.see(`~#\r\nThe following connections are open:\r\n  #0 session\r\n`)
			c.press("~v")
			c.see(`~v \[LogLevel VERBOSE\]\r\n`)
			c.press("~v~R")
			c.see(`debug1: SSH2_MSG_NEWKEYS sent\r\n`)
			c.press("~C")
			c.see(`commandline disabled\r\n`)
			c.press("~~ || exit 0\r")
		}},
		{"the server is killed", 255, func(c *console) {
			c.say("kill -9 $PPID")
			c.see(`Connection to 127\.0\.0\.1 closed by remote host\.\r\n` + closed)
		}},
		{"SIGTERM", 255, func(c *console) {
			if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"SIGHUP", 255, func(c *console) {
			if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				c.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := sit(t, t.TempDir(), shellAt(s, known)...)
			c.see(`R> $`)
			tt.do(c)
			c.leaves(tt.status)
		})
	}
}

// ~C adds forwards and ends them.
func TestEscapeCommandLine(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	c := sit(t, t.TempDir(), shellAt(s, s.KnownHosts(t), "-o", "EnableEscapeCommandline=yes")...)
	c.see(`R> $`)
	command := func(line, answer string) {
		t.Helper()
		c.press("~C")
		c.see(`ssh> $`)
		c.say(line)
		c.see(answer)
	}
	echo := testpeer.EchoTarget(t).Addr
	command("", `^\r\n`)
	command("?", `Commands:\r\n +-L\[bind_address:\]port:host:hostport +Request local forward\r\n`)
	command("-X", `Invalid command\.\r\n`)
	command("-L nonsense", `Bad forwarding specification\.\r\n`)
	c.press("~C")
	c.see(`ssh> $`)
	c.say("-L 0:" + echo)
	port := c.see(`listening on 127\.0\.0\.1:(\d+)\r\nForwarding port\.\r\n`)[1]
	nc, err := net.Dial("tcp4", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, "over there\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(nc).ReadString('\n'); line != "over there\n" {
		t.Errorf("the forward that was added brings %q, %v", line, err)
	}
	command("-KL nonsense", `Bad forwarding close specification\.\r\n`)
	command("-KD "+port, `Unknown port forwarding\.\r\n`)
	command("KL "+port, `Canceled forwarding\.\r\n`)
	command("-KL "+port, `Unknown port forwarding\.\r\n`)
	command("-R 0:"+echo, `Allocated port \d+ for remote forward to 127\.0\.0\.1:\d+\r\nForwarding port\.\r\n`)
	command("!echo here", `Invalid command\.\r\n`)
	c.press("~C")
	c.see(`ssh> $`)
	c.press(ctrlC) // the line, not the session
	c.say("")
	c.say("exit 4")
	c.leaves(4)
}

// A shell of this side suspends adit and has its own terminal meanwhile.
func TestSuspend(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "bash")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	args := shellAt(s, s.KnownHosts(t))
	line := "adit"
	for _, a := range args {
		line += " " + strconv.Quote(a)
	}
	c := sitAt(t, t.TempDir(), "bash", "--norc", "--noprofile", "--noediting", "-i")
	c.see(`[$#] $`)
	c.say("PS1='L> '")
	c.see(`\nL> $`)
	c.say(line)
	c.see(`\nR> $`)
	c.press("\r~\x1a")
	c.see(`~\^Z \[suspend ssh\]\r\n(?s:.*)Stopped(?s:.*)\nL> $`)
	c.say("stty -a | grep -ow -e -echo -e icanon; stty rows 30 cols 90")
	c.see(`\nicanon\r\nL> $`)
	c.say("fg")
	c.say("stty size; exit 5")
	c.see(`30 90\r\n`)
	c.see(`L> $`)
	c.say("echo status $?")
	c.see(`status 5\r\n`)
	c.see(`L> $`)
	c.say("stty rows 24 cols 80; exit")
	c.leaves(0)
}

// ~& leaves the terminal to the shell, and goes on while somebody uses a forward.
func TestLeave(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "bash")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	dir := t.TempDir()
	socket := filepath.Join(dir, "echo.sock")
	line := "adit"
	for _, a := range shellAt(s, s.KnownHosts(t), "-L", socket+":"+testpeer.EchoTarget(t).Addr) {
		line += " " + strconv.Quote(a)
	}
	c := sitAt(t, dir, "bash", "--norc", "--noprofile", "--noediting", "-i")
	c.see(`[$#] $`)
	c.say("PS1='L> '")
	c.see(`\nL> $`)
	c.say(line)
	c.see(`\nR> $`)
	nc, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	echo := func(text string) {
		t.Helper()
		io.WriteString(nc, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(nc, got); err != nil || string(got) != text {
			t.Fatalf("the forward: got %q, %v, want %q", got, err, text)
		}
	}
	echo("before")
	c.press("\r~&")
	c.see(`~& \[backgrounded\]\r\n(?s:.*)Stopped(?s:.*)\nL> (?s:.*)\nR> `)
	echo("in the background")
	if other, err := net.Dial("unix", socket); err == nil {
		other.Close()
		t.Error("somebody new is let in")
	}
	c.say("stty -a | grep -ow -e -echo -e icanon; jobs -r")
	c.see(`\nicanon\r\n\[1\]\+ +Running`)
	nc.Close()
	c.see(`Connection to 127\.0\.0\.1 closed\.\r\n`)
	c.say("wait; echo status $?; exit")
	c.see(`status 0\r\n`)
	c.leaves(0)
}

// A local command has the terminal as it is, before the session has it.
func TestLocalCommandAtATerminal(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	c := sit(t, t.TempDir(), shellAt(s, s.KnownHosts(t), "-o", "PermitLocalCommand=yes", "-o", "LocalCommand=read line; echo heard $line")...)
	c.say("here")
	c.see(`heard here\r\n`)
	c.see(`R> $`)
	c.say("exit 0")
	c.leaves(0)
}

// A password is asked for before the terminal is the server's.
func TestPasswordThenShell(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Passwords: true})
	c := sit(t, t.TempDir(), shellAt(s, s.KnownHosts(t), "-o", "PubkeyAuthentication=no", "-o", "KbdInteractiveAuthentication=no")...)
	c.ask(`'s password: `, s.Password)
	c.see(`R> $`)
	c.say("exit 6")
	c.leaves(6)
}

// A server without terminals: the session goes on if nobody asked for one.
func TestNoPTY(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{Config: []string{"PermitTTY no"}})
	known := s.KnownHosts(t)
	c := sit(t, t.TempDir(), shellAt(s, known)...)
	c.see(`adit: error: PTY allocation request failed on channel 0\r\n`)
	c.leaves(255)
	c = sit(t, t.TempDir(), "ssh", "-p", strconv.Itoa(s.Port()), "-i", s.Key.Path, "-o", "UserKnownHostsFile="+known, s.User+"@"+s.Host())
	c.see(`^PTY allocation request failed on channel 0\r\n`)
	c.say("tty; exit 7")
	c.see(`not a tty\r\n`)
	c.leaves(7)
}

// A question that comes during a session is answered at its terminal, and the
// session gets nothing of the answer. As ssh, adit asks about host keys only where
// a shell was asked for.
func TestQuestionDuringSession(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{HostKeys: []string{"ed25519", "rsa"}, Config: []string{"ForceCommand PS1='R> ' exec sh -i"}})
	for name, tt := range map[string]struct {
		answer string
		learns bool
	}{"yes": {"yes\r", true}, "no": {"no\r", false}, "no answer": {"\x04", false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known := filepath.Join(t.TempDir(), "known_hosts")
			line := knownhosts.Line(knownhosts.Host{Name: s.Host(), Port: s.Port()}, s.HostKeys[0], false) + "\n"
			if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
				t.Fatal(err)
			}
			args := shellAt(s, known, "-o", "UpdateHostKeys=ask")
			c := sit(t, t.TempDir(), args[:len(args)-1]...)
			c.see(`Learned new hostkey: (?s:.*)Accept updated hostkeys\? \(yes/no\): `)
			c.press(tt.answer)
			c.say("")
			c.see(`R> `)
			c.say("read x; echo heard $x")
			c.say("keys")
			c.see(`heard keys\r\n`)
			c.say("exit 0")
			c.leaves(0)
			b, err := os.ReadFile(known)
			if err != nil {
				t.Fatal(err)
			}
			if learns := strings.Count(string(b), "\n") > 1; learns != tt.learns {
				t.Errorf("the file has\n%s", b)
			}
		})
	}
}
