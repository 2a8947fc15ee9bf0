//go:build unix

package dial

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet/dialtest"
)

// patience bounds what should take no time. It bounds only tests that fail.
const patience = 30 * time.Second

func TestCommand(t *testing.T) {
	dialtest.Run(t, func(ctx context.Context, address string) (net.Conn, error) {
		return Command{Line: line(t, "carry", address)}.Dial(ctx, address)
	})
}

// Files that know no deadlines, as on Windows, make no difference.
func TestCommandPumped(t *testing.T) {
	dialtest.Run(t, func(ctx context.Context, address string) (net.Conn, error) {
		c, err := Command{Line: line(t, "carry", address)}.Dial(ctx, address)
		if err == nil {
			p := c.(*pipeConn)
			p.in, p.out = pumpIn(p.in.(*os.File)), pumpOut(p.out.(*os.File))
			if p.OutConn() != nil {
				t.Error("a pump says that it is a descriptor")
			}
		}
		return c, err
	})
}

// A command that fails says why.
func TestCommandFails(t *testing.T) {
	for _, tt := range []struct {
		line, want, hint string
		status           int
	}{
		{line(t, "exit", "7", "no way\x1b[2J\nto there"), `proxy command env: it exited with status 7; it said "no way[2J | to there"`, "", 7},
		{line(t, "exit", "0", ""), `it exited with status 0 before anything came through it`, "", 0},
		{"no-such-command %h", "proxy command no-such-command: it exited with status 127; it said \"", "did not find that command", 127},
		{"/dev/null", "it exited with status 126; it said \"", "can't be run", 126},
		{"sh -c 'kill -9 $$'", "it was ended by a signal (killed)", "", -1},
		{line(t, "mute"), "it closed its standard output, and still runs", "", -1},
		{"'", "it exited with status ", "", 2},
	} {
		var stderr bytes.Buffer
		c, err := Command{Line: tt.line, Shell: "/bin/sh", Stderr: &stderr}.Dial(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
		e, ok := errors.AsType[*Error](err)
		cmd, isCmd := errors.AsType[*CommandError](err)
		if !ok || !isCmd || e.Stage != StageCommand || !strings.Contains(err.Error(), tt.want) || cmd.Status != tt.status {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.line, err, tt.want)
		} else if got := e.Hint(); !strings.Contains(got, tt.hint) || (tt.hint == "") != (got == "") {
			t.Errorf("%s: hint %q, want %q", tt.line, got, tt.hint)
		}
		c.Close()
		if tt.status == 7 && stderr.String() != "no way\x1b[2J\nto there\n" {
			t.Errorf("standard error passed on: %q, want what the command wrote", stderr.String())
		}
	}
	if _, err := (Command{Line: "true", Shell: "/no/such/shell"}).Dial(t.Context(), ""); err == nil || !strings.HasPrefix(err.Error(), "proxy command true: ") {
		t.Errorf("no shell: got %v, want an error that names the command", err)
	}
}

// A status other than 0 is told also when something came before; 0 is the end.
func TestCommandEnds(t *testing.T) {
	for text, want := range map[string]string{"echo hello": "EOF", "sh -c 'echo hello; echo gone >&2; exit 3'": "it exited with status 3; it said \"gone\""} {
		c, err := Command{Line: text}.Dial(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(c, make([]byte, len("hello\n"))); err != nil {
			t.Fatal(err)
		}
		if _, err = c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), want) || want == "EOF" && err != io.EOF {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
		c.Close()
	}
}

// Close ends programs that don't want to end, in its time, and waits for them.
func TestCommandCloseKills(t *testing.T) {
	c, err := Command{Line: line(t, "deaf")}.Dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	c.Close()
	if took := time.Since(begin); took < endGrace || took > 2*time.Second {
		t.Errorf("Close took %v, want two graces of %v", took, endGrace)
	}
	if state := c.(*pipeConn).carrier.p.cmd.ProcessState; state == nil {
		t.Error("the program was not waited for")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v, want %v", err, net.ErrClosed)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v, want %v", err, net.ErrClosed)
	}
}

// Standard error is read however much comes, and the end of it is kept.
func TestCommandFillsStderr(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c, err := l.Accept()
		if err == nil {
			io.WriteString(c, "through")
			c.Close()
		}
	})
	c, err := Command{Line: line(t, "fill", l.Addr().String())}.Dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(c); string(b) != "through" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	p := c.(*pipeConn).carrier.p
	if n := len(p.tail.b); n != maxTail {
		t.Errorf("kept %d bytes of standard error, want %d", n, maxTail)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b]0;title\x07b": "a]0;titleb", "tab\there": "tab here", "\u009b31m\u202egnp.exe": "31mgnp.exe", "bad \xff\xfe": "bad ",
		strings.Repeat("é", 200): strings.Repeat("é", 128), "é\u2028ß": "éß",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Close does not wait for who does not take what the program says.
func TestCommandStderrBlocked(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Command{Line: "sh -c 'echo to nobody >&2; echo ready; exec cat'", Stderr: stuck{w}}.Dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	c.Close()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	w.Close() // lets the goroutine go
	r.Close()
}

// stuck is a writer that waits until its pipe is closed.
type stuck struct{ *os.File }

func (s stuck) Write([]byte) (int, error) {
	for {
		if _, err := s.File.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
	}
}
