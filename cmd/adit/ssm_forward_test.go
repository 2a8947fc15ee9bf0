//go:build linux

package main

import (
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

func TestSSMForward(t *testing.T) {
	t.Parallel()
	target := testpeer.HashTarget(t)
	_, port, err := net.SplitHostPort(target.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for name, remote := range map[string]string{"of the node": port, "behind it": target.Addr, "by name": "localhost:" + port} {
		t.Run(name, func(t *testing.T) {
			g := &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: time.Millisecond}}
			cmd := ssmProgram(t, g, "ssm", "--local", "0", "--remote", remote, ssmNode)
			addr := started(t, cmd, forwardingTo)
			var wg sync.WaitGroup
			for i := range 4 {
				way := testpeer.Upload
				if i%2 == 0 {
					way = testpeer.Download
				}
				wg.Go(func() { move(t, addr, way, int64(500_000*(i+1))) })
			}
			wg.Wait()
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
			if n := strings.Count(strings.Join(g.Events(), " "), "StartSession"); n != 1 {
				t.Errorf("%d sessions were started for 4 connections, want 1", n)
			}
			if g.Live() != 0 {
				t.Error("the session at AWS lives on")
			}
		})
	}
}

// Connections of --local are spread, too.
func TestSSMForwardSpreads(t *testing.T) {
	t.Parallel()
	target := testpeer.HashTarget(t)
	g := &ssmgw.Gateway{Faults: ssmgw.Faults{Delay: time.Millisecond}}
	cmd := ssmProgram(t, g, "ssm", "--sessions", "3", "--local", "0", "--remote", target.Addr, ssmNode)
	addr := started(t, cmd, forwardingTo)
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

// A GUI and its pool of connections: many at once over one session, whose WebSocket
// ends meanwhile. The agent sleeps, as AWS's: what is lost then it sends again at ten
// messages a second.
func TestSSMForwardsManyAtOnce(t *testing.T) {
	t.Parallel()
	target := testpeer.HashTarget(t)
	g := &ssmgw.Gateway{Agent: ssmgw.Agent{Sleep: time.Millisecond}, Faults: ssmgw.Faults{Delay: time.Millisecond, CloseAfter: 600_000, Closes: 1}}
	cmd := ssmProgram(t, g, "ssm", "--local", "0", "--remote", target.Addr, ssmNode)
	addr := started(t, cmd, forwardingTo)
	downloads(t, addr, 150, 8000)
	if n := len(g.Carried()); n != 1 {
		t.Errorf("%d sessions were started, want 1", n)
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
			cmd := ssmProgram(t, g, "ssm", "--local", "0", "--remote", target.Addr, ssmNode)
			addr := started(t, cmd, forwardingTo)
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
	cmd := ssmProgram(t, g, "ssm", "--sessions", "2", "--local", "0", "--remote", echo.Addr, ssmNode)
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
			cmd := ssmProgram(t, g, "ssm", "--sessions", "3", "--local", "0", "--remote", target.Addr, ssmNode)
			_, said := launch(t, cmd)
			said.await(t, regexp.MustCompile("(adit: warning: "+c.said+")"))
			addr := said.await(t, forwardingTo)
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

// A program that is interrupted while its sessions start ends at once, with a word of
// nothing, and leaves none at AWS.
func TestSSMForwardInterruptedAtItsStart(t *testing.T) {
	t.Parallel()
	g := &ssmgw.Gateway{Agent: ssmgw.Agent{Start: time.Second}}
	cmd := ssmProgram(t, g, "ssm", "--sessions", "3", "--local", "0", "--remote", "1", ssmNode)
	_, said := launch(t, cmd)
	g.Await(t, "open", 3)
	began := time.Now()
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it ended after %v", took)
	}
	if text := said.String(); text != "" {
		t.Errorf("it says\n%s", text)
	}
	if n := g.Live(); n != 0 {
		t.Errorf("%d sessions live on", n)
	}
}

// An agent that can't multiplex gets one session for each of the clients that are there
// at a time, which don't get in each other's way.
func TestSSMForwardOldAgent(t *testing.T) {
	t.Parallel()
	echo := testpeer.EchoTarget(t)
	g := &ssmgw.Gateway{Agent: ssmgw.Agent{Version: "3.0.196.0"}}
	cmd := ssmProgram(t, g, "ssm", "--local", "0", "--remote", echo.Addr, ssmNode)
	addr := started(t, cmd, forwardingTo)
	var both [2]net.Conn
	for i := range both {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		both[i] = c
	}
	for _, round := range []string{"one", "two"} {
		for i, c := range both {
			text := round + " of " + string(rune('a'+i))
			io.WriteString(c, text)
			got := make([]byte, len(text))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
				t.Errorf("%q, %v, want %q", got, err, text)
			}
		}
	}
	if n := g.Live(); n != 2 {
		t.Errorf("%d sessions live, want one for each client", n)
	}
	both[0].(*net.TCPConn).SetLinger(0) // a mere end of its input would be waited upon
	both[0].Close()
	g.Await(t, "closed", 2) // that of the start, and this
	io.WriteString(both[1], "x")
	if _, err := io.ReadFull(both[1], make([]byte, 1)); err != nil {
		t.Errorf("the other client: %v", err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if n := g.Live(); n != 0 {
		t.Errorf("%d sessions live on", n)
	}
}
