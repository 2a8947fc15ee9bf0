//go:build unix

package main

import (
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// console is adit in a terminal of its own, and the person before it.
type console struct {
	t      *testing.T
	cmd    *exec.Cmd
	tty    *os.File // the person's side
	before *term.State
	shown  output
	seen   int // how much of shown was expected already
	wait   func() error
}

// sit starts adit with a home folder of its own.
func sit(t *testing.T, home string, args ...string) *console {
	t.Helper()
	return sitAt(t, home, "adit", args...)
}

// sitAt is sit for any program, in a terminal of 80 columns and 24 rows.
func sitAt(t *testing.T, home, program string, args ...string) *console {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "SSH_AUTH_SOCK=", "TERM=vt100")
	tty, inner, err := pty.Open()
	if err != nil {
		testpeer.Missing(t, "no terminals here: %v", err)
	}
	defer inner.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 80, Rows: 24}); err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, tty: tty, cmd: cmd}
	if c.before, err = term.GetState(int(inner.Fd())); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.wait = sync.OnceValue(cmd.Wait)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer c.shown.end()
		b := make([]byte, 4096)
		for {
			n, err := tty.Read(b)
			c.shown.Write(b[:n])
			if err != nil {
				return // nobody has the inner side open any more
			}
		}
	})
	t.Cleanup(func() {
		cmd.Process.Kill()
		c.wait()
		reading.Wait()
		tty.Close()
	})
	return c
}

// see waits until the terminal shows what matches, behind what was seen, and
// returns the match's groups.
func (c *console) see(pattern string) []string {
	c.t.Helper()
	groups, end, err := c.shown.await(regexp.MustCompile(pattern), c.seen)
	if err != nil {
		c.t.Fatal(err)
	}
	c.seen = end
	return groups
}

// say types text and Enter.
func (c *console) say(text string) { c.press(text + "\r") }

func (c *console) press(keys string) {
	c.t.Helper()
	if _, err := c.tty.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// awaitRaw waits until the program has changed the terminal's modes.
func (c *console) awaitRaw() {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		switch state, err := term.GetState(int(c.tty.Fd())); {
		case err != nil:
			c.t.Fatal(err)
		case !reflect.DeepEqual(state, c.before):
			return
		case time.Now().After(end):
			c.t.Fatal("the terminal's modes stay as they were")
		}
	}
}

// leaves waits for adit's end, and checks the exit status and that the terminal
// is as it was. It returns what the terminal showed after what was seen.
func (c *console) leaves(status int) string {
	c.t.Helper()
	text, err := c.shown.rest(c.seen)
	if err != nil {
		c.t.Fatalf("adit does not end: %v; the terminal shows\n%s", err, text)
	}
	got, err := exitStatusOf(c.wait())
	if err != nil {
		c.t.Fatal(err)
	}
	if got != status {
		c.t.Errorf("exit status %d, want %d; the terminal shows\n%s", got, status, c.shown.text)
	}
	if state, err := term.GetState(int(c.tty.Fd())); err != nil || !reflect.DeepEqual(state, c.before) {
		c.t.Errorf("the terminal is left as %+v, %v, want %+v", state, err, c.before)
	}
	return text
}

// ask answers a question that must not show the answers, and is repeated while
// there are more of them.
func (c *console) ask(question string, answers ...string) {
	c.t.Helper()
	for _, a := range answers {
		c.see(question + `$`)
		if a == ctrlC {
			c.press(a)
		} else {
			c.say(a)
		}
	}
}

const ctrlC, ctrlD = "\x03", "\x04"

// cat returns the command line of a command at s that ends at once.
func cat(s *testpeer.Server, known string, more ...string) []string {
	args := append([]string{"ssh", "-n", "-p", strconv.Itoa(s.Port()), "-o", "UserKnownHostsFile=" + known}, more...)
	return append(args, s.User+"@"+s.Host(), "cat")
}
