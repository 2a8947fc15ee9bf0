//go:build linux

package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

// signals are those that end a program, by name.
var signals = map[string]os.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT}

// However a session's client ends, AWS is told: the agent would else keep the
// connection for 20 minutes.
func TestSSMEnds(t *testing.T) {
	t.Parallel()
	silent := testpeer.EchoTarget(t)
	_, port, _ := net.SplitHostPort(silent.Addr)
	for _, how := range []string{"EOF", "TERM", "HUP", "INT"} {
		t.Run(how, func(t *testing.T) {
			g := &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: time.Millisecond}}
			cmd := ssmProgram(t, g, "ssm", "--timeout", "1m", ssmNode, port)
			in, out := pipes(t, cmd)
			io.WriteString(in, "SSH-2.0-x\r\n")
			buf := make([]byte, 11)
			if _, err := io.ReadFull(out, buf); err != nil || string(buf) != "SSH-2.0-x\r\n" {
				t.Fatalf("echo: %q, %v", buf, err)
			}
			began := time.Now()
			if how == "EOF" {
				in.Close()
			} else {
				cmd.Process.Signal(signals[how])
			}
			err := cmd.Wait()
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
			if (err == nil) != (how == "EOF") {
				t.Errorf("status %v", err)
			}
			if g.Live() != 0 {
				t.Errorf("the session at AWS lives on: %q", g.Events())
			}
		})
	}
}

// A program that is ended while it logs in ends its session, too.
func TestSSMEndsAmidALogin(t *testing.T) {
	t.Parallel()
	greeted := make(chan string, 1)
	silent := testnet.ServeTCP(t, func(c *net.TCPConn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		greeted <- line
		io.Copy(io.Discard, c)
	})
	_, port, _ := net.SplitHostPort(silent)
	g := &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: 50 * time.Millisecond}}
	cmd := ssmProgram(t, g, "ssh", "-F", "none", "-p", port, "ssm://"+ssmNode, "true")
	launch(t, cmd)
	select {
	case line := <-greeted:
		if !strings.HasPrefix(line, "SSH-2.0-") {
			t.Fatalf("the server got %q", line)
		}
	case <-time.After(patience):
		t.Fatal("no connection")
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err == nil {
		t.Error("status 0")
	}
	if g.Live() != 0 {
		t.Errorf("the session at AWS lives on: %q", g.Events())
	}
}

// An agent that no longer answers does not keep a program from ending, nor AWS from
// being told within a second.
func TestSSMEndsWithoutAnAgent(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "sshd", "ssh-keygen")
	server := testpeer.SSHD(t, testpeer.SSHDOptions{})
	echo := testpeer.EchoTarget(t)
	_, port, _ := net.SplitHostPort(echo.Addr)
	ways := map[string][]string{
		"ssm":         {"ssm", "--no-inband", ssmNode, port},
		"ssm --local": {"ssm", "--local", "0", "--remote", port, ssmNode},
		"ssh": {"ssh", "-F", "none", "-i", server.Key.Path, "-o", "StrictHostKeyChecking=accept-new", "-p", strconv.Itoa(server.Port()),
			"ssm://" + server.User + "@" + ssmNode, "echo ready; cat"},
	}
	for name, args := range ways {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
			t.Run(name+" "+signal.String(), func(t *testing.T) {
				t.Parallel()
				g := &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: time.Millisecond}}
				cmd := ssmProgram(t, g, args...)
				var conn io.ReadWriter
				if name == "ssm --local" {
					c, err := net.Dial("tcp", started(t, cmd, forwardingTo))
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					conn = c
				} else {
					in, out := pipes(t, cmd)
					conn = struct {
						io.Reader
						io.Writer
					}{out, in}
				}
				io.WriteString(conn, "hello\n")
				if _, err := io.ReadFull(conn, make([]byte, 6)); err != nil {
					t.Fatal(err)
				}
				g.Freeze()
				io.WriteString(conn, "nobody takes this\n")
				began := time.Now()
				cmd.Process.Signal(signal)
				g.Await(t, "TerminateSession", 1)
				if took := time.Since(began); took > 2*time.Second { // a second, on a machine that is not busy
					t.Errorf("AWS was told after %v", took)
				}
				cmd.Wait()
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("it ended after %v", took)
				}
			})
		}
	}
}

// Who ends a program while its session starts, as a person who waits no longer, leaves
// no session behind either: AWS hears of it, though the way there takes a while.
func TestSSMEndsAtItsStart(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"ssm":         {"ssm", ssmNode},
		"ssm --local": {"ssm", "--local", "0", "--remote", "1", ssmNode},
		"ssh":         {"ssh", "-F", "none", "ssm://me@" + ssmNode, "true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &ssmgw.Gateway{Agent: ssmgw.Agent{Mute: true}, Latency: 200 * time.Millisecond}
			cmd := ssmProgram(t, g, args...)
			launch(t, cmd)
			g.Await(t, "open", 1)
			began := time.Now()
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it ended after %v", took)
			}
			if n := g.Live(); n != 0 {
				t.Errorf("%d sessions live on: %q", n, g.Events())
			}
		})
	}
}

// Who ends it while AWS starts the session leaves none behind, if AWS answers within a
// second; and does not wait for longer.
func TestSSMEndsWhileAWSStarts(t *testing.T) {
	t.Parallel()
	ways := map[string][]string{
		"ssm":         {"ssm", ssmNode},
		"ssm --local": {"ssm", "--local", "0", "--remote", "1", "--sessions", "2", ssmNode},
		"ssh":         {"ssh", "-F", "none", "ssm://me@" + ssmNode, "true"},
	}
	for way, args := range ways {
		for _, how := range []string{"EOF", "TERM", "HUP", "INT", "TERM, and no answer"} {
			if how == "EOF" && way != "ssm" {
				continue // whose input it is not
			}
			t.Run(way+" "+how, func(t *testing.T) {
				t.Parallel()
				signal, silent := strings.CutSuffix(how, ", and no answer")
				g := &ssmgw.Gateway{Slow: map[string]time.Duration{"ssm:StartSession": 500 * time.Millisecond}}
				if silent {
					g.Slow["ssm:StartSession"] = time.Hour
				}
				cmd := ssmProgram(t, g, args...)
				in, _ := launch(t, cmd)
				g.Await(t, "StartSession", 1)
				began := time.Now()
				if signal == "EOF" {
					in.Close()
				} else {
					cmd.Process.Signal(signals[signal])
				}
				cmd.Wait()
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("it ended after %v", took)
				}
				if n := g.Live(); n != 0 && !silent {
					t.Errorf("%d sessions live on: %q", n, g.Events())
				}
				if got := strings.Contains(strings.Join(g.Events(), " "), "TerminateSession"); got == silent {
					t.Errorf("AWS was told to end it: %v\n%q", got, g.Events())
				}
			})
		}
	}
}

// What nohup protects from a hang-up is protected.
func TestSSMHeedsNohup(t *testing.T) {
	t.Parallel()
	target := testpeer.HashTarget(t)
	g := &ssmgw.Gateway{}
	cmd := exec.Command("sh", "-c", `trap '' HUP; exec adit ssm --local 0 --remote "$0" `+ssmNode, target.Addr)
	cmd.Env = append(os.Environ(), ssmEnv(t, g)...)
	addr := started(t, cmd, forwardingTo)
	cmd.Process.Signal(syscall.SIGHUP)
	downloads(t, addr, 1, 100_000)
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if g.Live() != 0 {
		t.Error("the session at AWS lives on")
	}
}
