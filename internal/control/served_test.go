//go:build unix

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/wire"
)

func TestSessions(t *testing.T) {
	s := share(t, nil)
	if pid, err := s.dial().Alive(); pid != os.Getpid() || err != nil {
		t.Errorf("alive: pid %d, %v, want %d", pid, err, os.Getpid())
	}
	for _, tt := range []struct {
		command, input string
		want           ended
	}{
		{"fail", "", ended{"out", "err", 7, nil}},
		{"cat", strings.Repeat("a line\n", 50000), ended{strings.Repeat("a line\n", 50000), "", 0, nil}},
		{"die", "", ended{"", "", 0, ErrNoStatus}},
		{"refuse", "", ended{"", "exec request failed on channel 0\r\n", 0, ErrNoStatus}},
		{"", "to the shell", ended{"to the shell", "", 0, nil}},
	} {
		if got := runIn(t, s.dial(), Session{Command: tt.command, Escape: -1}, tt.input); got != tt.want {
			t.Errorf("%q: got %.200v, want %.200v", tt.command, got, tt.want)
		}
	}
}

// Terminals, variables and the agent are asked for, in OpenSSH's order and before the
// command, and as the master's configuration has it.
func TestWhatASessionAsksFor(t *testing.T) {
	s := share(t, func(c *Config) {
		c.Env = func(sent []string) []string { return append(sent[:1], "OWN=1") }
		c.ForwardAgent = func(ctx context.Context, ch *adit.Conn) error {
			_, err := ch.SendRequest(ctx, wire.RequestAgentFwd, false, nil)
			return err
		}
	})
	runIn(t, s.dial(), Session{Command: "cat", TTY: true, Term: "vt100", Agent: true, Escape: -1, Env: []string{"A=b=c", "SECRET=x"}}, "")
	runIn(t, s.dial(), Session{Command: "sftp", Subsystem: true, Env: []string{"A="}}, "")
	want := "auth-agent-req@openssh.com; pty-req vt100; env A=b=c; env OWN=1; exec cat; env A=; env OWN=1; subsystem sftp"
	if got := s.requests(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// Escape sequences are the master's to obey, in sessions with a terminal only.
func TestEscapes(t *testing.T) {
	s := share(t, func(c *Config) { c.ListChannels = func() string { return "all of\nthem\n" } })
	for _, tt := range []struct {
		name, typed string
		tty         bool
		escape      int
		want        ended
	}{
		{"the end", "~.\n", true, '~', ended{"", "~.\r\n", 0, ErrNoStatus}},
		{"text", "a~.~\n~~b\n~xc", true, '~', ended{"a~.~\n~b\n~xc", "", 0, nil}},
		{"another character", "~.\n%R\n", true, '%', ended{"~.\n\n", "", 0, nil}},
		{"none", "~.\n", true, -1, ended{"~.\n", "", 0, nil}},
		{"the channels", "~#", true, '~', ended{"", "~#\r\nall of\r\nthem\r\n", 0, nil}},
		{"what is not for clients", "~\x1a~C~V~v~&", true, '~', ended{"", "~^Z escape not available to multiplexed sessions\r\n" +
			"~C escape not available to multiplexed sessions\r\n~V escape not available to multiplexed sessions\r\n" +
			"~v escape not available to multiplexed sessions\r\n~& escape not available to multiplexed sessions\r\n", 0, nil}},
		{"no terminal", "~.\n", false, '~', ended{"~.\n", "", 0, nil}},
	} {
		if got := runIn(t, s.dial(), Session{Command: "cat", TTY: tt.tty, Escape: tt.escape}, tt.typed); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := runIn(t, s.dial(), Session{Command: "cat", TTY: true, Escape: '~'}, "~?"); !strings.Contains(got.err, "\r\n ~.   - terminate session\r\n") {
		t.Errorf("~?: got %v", got)
	}
}

// A client that goes takes its session along; one that is there when the master
// ends hears of it.
func TestEnds(t *testing.T) {
	s := share(t, nil)
	start := func(command string) (*Client, *Passenger) {
		c := s.dial()
		in, _ := pipe(t)
		_, out := pipe(t)
		p, err := c.Start(Session{Command: command}, in, out, out)
		if err != nil {
			t.Fatal(err)
		}
		return c, p
	}
	gone, _ := start("hang")
	_, left := start("hang")
	gone.Close()
	<-s.over
	if n := s.client.Channels(); n > 2 { // its own may wait for the server's CLOSE
		t.Errorf("%d channels are open", n)
	}
	cancelled, cancel := context.WithCancelCause(t.Context())
	tired := errors.New("tired")
	cancel(tired)
	_, third := start("hang")
	if _, err := third.Wait(cancelled, nil); err != tired {
		t.Errorf("a client that does not want to wait any more: got %v, want %v", err, tired)
	}
	<-s.over
	if err := s.Master.Close(); err != nil {
		t.Error(err)
	}
	if _, err := left.Wait(t.Context(), nil); err != ErrNoStatus {
		t.Errorf("the master's end: got %v, want %v", err, ErrNoStatus)
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after the master's end: %v", err)
	}
}

// -W: what the target sends ends it, and a refusal is OpenSSH's.
func TestStdio(t *testing.T) {
	s := share(t, nil)
	for _, spec := range []forward.Spec{{Host: "db", HostPort: 5432}, {TargetPath: "/db.sock"}} {
		in, feed := pipe(t)
		out, w := pipe(t)
		p, err := s.dial().Stdio(spec, in, w)
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		w.Close()
		io.WriteString(feed, "to the echo")
		feed.Close()
		if got, err := io.ReadAll(out); string(got) != "to the echo" {
			t.Errorf("%+v: got %q, %v", spec, got, err)
		}
		if _, err := p.Wait(t.Context(), nil); err != ErrNoStatus {
			t.Errorf("%+v: ended with %v", spec, err)
		}
	}
	in, out := pipe(t)
	_, err := s.dial().Stdio(forward.Spec{Host: "db", HostPort: 1}, in, out)
	if want := "Stdio forwarding request failed: Session open refused by peer"; err == nil || err.Error() != want {
		t.Errorf("a target that refuses: got %v, want %s", err, want)
	}
}

func TestForwards(t *testing.T) {
	s := share(t, nil)
	c := s.dial()
	local, err := forward.ParseLocal("0:db:5432")
	if err != nil {
		t.Fatal(err)
	}
	port, err := c.Forward(local)
	if err != nil || port == 0 {
		t.Fatalf("got port %d, %v", port, err)
	}
	if again, err := s.dial().Forward(local); again != port || err != nil {
		t.Errorf("the same forward again: got port %d, %v, want %d", again, err, port)
	}
	echo := func() (string, error) {
		nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return "", err
		}
		defer nc.Close()
		io.WriteString(nc, "echo")
		nc.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(nc)
		return string(b), err
	}
	if got, err := echo(); got != "echo" {
		t.Errorf("through the forward: got %q, %v", got, err)
	}
	if err := c.Cancel(local); err != nil {
		t.Error(err)
	}
	if _, err := echo(); err == nil {
		t.Error("a forward that was cancelled still listens")
	}
	remote := forward.Spec{Remote: true, Host: "db", HostPort: 5432}
	for _, tt := range []struct {
		name string
		do   func() error
		want string
	}{
		{"cancel again", func() error { return c.Cancel(local) }, "forwarding request failed: port not forwarded"},
		{"a port of the server's choice", func() error {
			if port, err := c.Forward(remote); port != 4711 {
				return fmt.Errorf("got port %d, %v", port, err)
			}
			return c.Cancel(remote)
		}, ""},
		{"a server that refuses", func() error {
			_, err := c.Forward(forward.Spec{Remote: true, Port: 1, Host: "db", HostPort: 5432})
			return err
		}, "forwarding request failed: remote port forwarding failed for listen port 1"},
		{"no target", func() error { _, err := c.Forward(forward.Spec{Port: 1}); return err }, "forwarding request failed: Invalid forwarding request"},
	} {
		if err := tt.do(); fmt.Sprint(err) != tt.want && !(err == nil && tt.want == "") {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}

// A forward that a client has asked for ends with the master; those that were there
// before are their owner's.
func TestForwardsOfOthers(t *testing.T) {
	var own *adit.Forwarding
	spec := forward.Spec{Dynamic: true}
	s := share(t, nil)
	own, err := s.client.ForwardSpec(t.Context(), spec, forward.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	s.Master.cfg.Forwards = []Forward{{spec, own}}
	s.Master.forwards = []Forward{{spec, own}}
	c := s.dial()
	port, err := c.Forward(forward.Spec{Host: "db", HostPort: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.Master.Close()
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		t.Error("a client's forward outlives the master")
	}
	nc, err := net.Dial("tcp", own.Addr().String())
	if err != nil {
		t.Errorf("the owner's forward: %v", err)
	} else {
		nc.Close()
	}
}

// ControlMaster ask: the questions are OpenSSH's, and no is an answer.
func TestConfirm(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	yes := false
	s := share(t, func(c *Config) {
		c.Confirm = func(_ context.Context, question string) bool {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, question)
			return yes
		}
	})
	c := s.dial()
	in, out := pipe(t)
	start := func(c *Client) error { _, err := c.Start(Session{Command: "cat"}, in, out, out); return err }
	for _, tt := range []struct {
		what, question string
		do             func(*Client) error
	}{
		{"session request", "Allow shared connection to example? ", start},
		{"stdio forwarding request", "Allow forward to [db]:5432? ", func(c *Client) error {
			_, err := c.Stdio(forward.Spec{Host: "db", HostPort: 5432}, in, out)
			return err
		}},
		{"stdio forwarding request", "Allow forward to path /s", func(c *Client) error { _, err := c.Stdio(forward.Spec{TargetPath: "/s"}, in, out); return err }},
		{"forwarding request", "Open local forward LOCALHOST:8080 -> db:80 on example?", func(c *Client) error {
			_, err := c.Forward(forward.Spec{Port: 8080, Host: "db", HostPort: 80})
			return err
		}},
		{"stop listening request", "Disable further multiplexing on shared connection to example? ", (*Client).StopListening},
		{"termination request", "Terminate shared connection to example? ", (*Client).Terminate},
		{"proxy request", "Allow shared connection to example? ", func(c *Client) error { _, err := c.Proxy(); return err }},
	} {
		err := tt.do(c)
		if want := "Master refused " + tt.what + ": Permission denied"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		mu.Lock()
		if got := asked[len(asked)-1]; got != tt.question {
			t.Errorf("asked %q, want %q", got, tt.question)
		}
		mu.Unlock()
	}
	mu.Lock()
	yes = true
	mu.Unlock()
	if err := start(c); err != nil {
		t.Errorf("after a yes: %v", err)
	}
}

// -O stop and -O exit are for the master's owner to act on.
func TestStopAndTerminate(t *testing.T) {
	s := share(t, nil)
	c := s.dial()
	if err := c.StopListening(); err != nil {
		t.Fatal(err)
	}
	<-s.Stopped()
	if _, err := Dial(t.Context(), s.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after stop: got %v, want that there is no socket", err)
	}
	if got := runIn(t, c, Session{Command: "fail"}, ""); got.status != 7 {
		t.Errorf("a client that was there already: got %v", got)
	}
	s = share(t, nil)
	if err := s.dial().Terminate(); err != nil {
		t.Fatal(err)
	}
	<-s.Terminated()
}

// One client after the other, and many at once, are served.
func TestManyClients(t *testing.T) {
	s := share(t, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			text := strings.Repeat(fmt.Sprint(i), 10000)
			if got := runIn(t, s.dial(), Session{Command: "cat"}, text); got.out != text || got.status != 0 || got.fault != nil {
				t.Errorf("client %d: got %.100v", i, got)
			}
		})
	}
	wg.Wait()
	s.Drain(t.Context())
}
