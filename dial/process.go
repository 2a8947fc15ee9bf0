package dial

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// endGrace is how long a program may take to end after SIGHUP, and again
	// after SIGTERM, before it is killed.
	endGrace = 500 * time.Millisecond
	// eofGrace is how long a program that has ended its output may take to exit,
	// and what it started to end its standard error: the reason is wanted.
	eofGrace = 500 * time.Millisecond
	// maxTail is how much of a program's standard error is kept, in bytes.
	maxTail = 2 << 10
	// maxSaid is how many of its last lines an error quotes.
	maxSaid = 3
)

// process is a running proxy command.
//
// Goroutines: one waits for the program, one reads its standard error. end waits
// for both, but for the second not longer than endGrace: it may wait in a Write.
type process struct {
	name    string // in errors
	cmd     *exec.Cmd
	stderr  *os.File
	tail    tail
	exited  chan struct{} // closed when the program has ended and was waited for
	drained chan struct{} // closed when standard error has ended
}

// start runs the line in the person's shell, which becomes the program (OpenSSH,
// sshconnect.c, ssh_proxy_connect). It closes stdin and stdout, which are the
// program's ends. What the program writes to standard error goes to w too.
func (d Command) start(stdin, stdout *os.File, w io.Writer) (*process, error) {
	cmd, err := shellCommand(d.Shell, d.Line)
	if err != nil {
		stdin.Close()
		stdout.Close()
		return nil, err
	}
	r, stderr, err := os.Pipe()
	if err == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
		if err = cmd.Start(); err != nil {
			r.Close()
		}
		stderr.Close()
	}
	stdin.Close()
	if stdout != stdin {
		stdout.Close()
	}
	if err != nil {
		return nil, plain(err)
	}
	p := &process{name: d.name(), cmd: cmd, stderr: r, exited: make(chan struct{}), drained: make(chan struct{})}
	go func() {
		defer close(p.exited)
		cmd.Wait()
	}()
	go func() {
		defer close(p.drained)
		defer r.Close()
		if w == nil {
			w = io.Discard
		}
		io.Copy(&p.tail, io.TeeReader(r, heedless{w}))
	}()
	return p, nil
}

// heedless is a writer whose errors stop nobody: a terminal that is gone must
// not make the program wait.
type heedless struct{ w io.Writer }

func (h heedless) Write(b []byte) (int, error) {
	h.w.Write(b)
	return len(b), nil
}

// end ends the program, if need be by force, and returns when it was waited for.
// SIGHUP is what OpenSSH sends. Only the program itself is signalled: it shares
// our process group, so that it can ask questions on the terminal and is
// interrupted with us. What it started meets the end of its input.
//
// A program that may not be signalled, as one of another user, is left to that
// too: its goroutine then stays until it ends.
func (p *process) end() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM, os.Kill} {
		if p.cmd.Process.Signal(s) != nil && s != os.Kill {
			select {
			case <-p.exited:
			default:
				continue // not a signal of this system's
			}
		}
		if within(p.exited, endGrace) {
			break
		}
	}
	within(p.drained, endGrace/10) // for what it said last
	p.stderr.Close()
	within(p.drained, endGrace) // longer only where Command.Stderr does not take it
}

// within waits for a channel to be closed, for so long at most.
func within(c <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

// CommandError is a proxy command that ended, or stopped speaking, when it was
// needed.
type CommandError struct {
	// Status is the exit status; -1 if it was ended by a signal or still runs.
	Status int
	// Signal ended it; nil if none did.
	Signal os.Signal
	// Said are the last lines that it wrote to standard error, printable.
	Said []string

	what string
}

func (e *CommandError) Error() string {
	if len(e.Said) == 0 {
		return e.what
	}
	return fmt.Sprintf("%s; it said %q", e.what, strings.Join(e.Said, " | "))
}

// hint says what an exit status means that the shell chose (POSIX, Shell Command
// Language, section 2.8.2), in one line.
func (e *CommandError) hint() string {
	switch {
	case e.Status == 127 && runtime.GOOS != "windows":
		return "the shell did not find that command: check its name, or give its whole path"
	case e.Status == 126 && runtime.GOOS != "windows":
		return "that file can't be run: is it executable (chmod +x)?"
	}
	return ""
}

// outcome says how the program ended, having waited a little for that. What it
// did when it is still running comes from the caller.
func (p *process) outcome(running string) *CommandError {
	e := &CommandError{Status: -1, what: running}
	if within(p.exited, eofGrace) {
		within(p.drained, eofGrace)
		state := p.cmd.ProcessState
		if e.Status = state.ExitCode(); e.Status >= 0 {
			e.what = fmt.Sprintf("it exited with status %d", e.Status)
		} else if ws, ok := state.Sys().(interface {
			Signaled() bool
			Signal() syscall.Signal
		}); ok && ws.Signaled() {
			e.Signal = ws.Signal()
			e.what = fmt.Sprintf("it was ended by a signal (%v)", e.Signal)
		}
	}
	e.Said = p.tail.lines()
	return e
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	b   []byte // guarded by mu
	cut bool   // guarded by mu; something was dropped before b
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if n := len(t.b) - maxTail; n > 0 {
		t.b, t.cut = append(t.b[:0], t.b[n:]...), true
	}
	return len(b), nil
}

// lines returns the last lines that are not empty, printable.
func (t *tail) lines() []string {
	t.mu.Lock()
	text, cut := string(t.b), t.cut
	t.mu.Unlock()
	if i := strings.IndexByte(text, '\n'); cut && i >= 0 {
		text = text[i+1:] // a line without its beginning says little
	}
	var lines []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(printable(l)); l != "" {
			lines = append(lines, l)
		}
	}
	return lines[max(0, len(lines)-maxSaid):]
}

// maxPrintable is the longest text of others that an error quotes, in bytes.
const maxPrintable = 256

// printable makes text fit for a terminal: one line without control characters.
func printable(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxPrintable)], "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, s)
}
