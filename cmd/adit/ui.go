package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/rawpipe"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/knownhosts"
)

// The rules of what a person sees: standard output carries only what was asked
// for; all else goes to standard error, as "adit: error: …", "adit: warning: …"
// or "adit: hint: …", lower case, without a period; questions go to the
// terminal.

// tell prints an error and what to do about it.
func tell(err error) {
	if line := cmp.Or(deniedLine(err), lostLine(err)); line != "" {
		fmt.Fprintln(messages, line)
	}
	// What others said should be printable by now; here it is sure to be.
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(messages, "adit: error: %s\n", printable(line))
	}
	if h := hint(err); h != "" {
		fmt.Fprintf(messages, "adit: hint: %s\n", h)
	}
}

// hinter is an error that knows what to do about it: of dialling, listening, the
// version line, or a configuration.
type hinter interface {
	error
	Hint() string
}

func hint(err error) string {
	if e, ok := errors.AsType[*usageError](err); ok {
		return strings.TrimSuffix("see: adit "+e.verb, " ") + " --help"
	}
	if h := jumpHint(err); h != "" {
		return h
	}
	if e, ok := errors.AsType[*setup.UnknownHostError](err); ok {
		return fmt.Sprintf("if that fingerprint is right, add it with: adit ssh -o StrictHostKeyChecking=accept-new … , or put this line into %s: %s",
			e.Files[0], knownhosts.Line(e.Host, plainKey(e.Key), false))
	}
	if e, ok := errors.AsType[*knownhosts.MismatchError](err); ok && !strings.HasPrefix(e.Want[0].File, "KnownHostsCommand-") {
		return fmt.Sprintf("if the server was really replaced: ssh-keygen -f '%s' -R '%s', and connect again", e.Want[0].File, e.Host)
	}
	if e, ok := errors.AsType[*pushError](err); ok {
		return e.hint
	}
	if e, ok := errors.AsType[*adit.AuthError](err); ok {
		return authHint(e)
	}
	if e, ok := errors.AsType[*setup.UnsupportedError](err); ok {
		return e.Hint
	}
	if h := hinted(err); h != "" {
		return h
	}
	if e, ok := errors.AsType[*adit.RemoteListenError](err); ok {
		return remoteHint(e)
	}
	if e, ok := errors.AsType[*adit.TimeoutError](err); ok {
		return fmt.Sprintf("nothing came from it for %v: the network or the server is gone. ServerAliveInterval and ServerAliveCountMax say how long to wait", e.Silent.Round(time.Second))
	}
	return cmp.Or(connectHint(err), loginEndedHint(err))
}

// hinted returns the last hint in a chain of errors, which is the nearest to the
// cause.
func hinted(err error) (hint string) {
	for {
		e, ok := errors.AsType[hinter](err)
		if !ok {
			return hint
		}
		hint = cmp.Or(e.Hint(), hint)
		err = errors.Unwrap(e)
	}
}

// connectHint is hint for `adit connect`.
func connectHint(err error) string {
	if e, ok := errors.AsType[*pumpedError](err); ok {
		return e.Hint
	}
	if _, ok := errors.AsType[*fdpassError](err); ok {
		return "--fdpass goes with ProxyUseFdpass yes in ssh_config; without that leave it out"
	}
	if errors.Is(err, errNoPassword) {
		return "set ADIT_PROXY_PASSWORD, or SSH_ASKPASS with DISPLAY"
	}
	if e, ok := errors.AsType[*rawpipe.SilentError](err); ok {
		switch {
		case errors.Is(e.Err, rawpipe.ErrEcho):
			return "what does the way to the server run there? It must copy bytes, and not start a shell or ssh"
		case errors.Is(e.Err, rawpipe.ErrSilent):
			return "the server may be full (MaxStartups) or refuse your address; its log says which"
		case errors.Is(e.Err, os.ErrDeadlineExceeded):
			return "something took the connection and says nothing: is it an SSH server, and not overloaded? --timeout gives it longer"
		}
	}
	return ""
}

func plainKey(k gossh.PublicKey) gossh.PublicKey {
	if cert, ok := k.(*gossh.Certificate); ok {
		return cert.Key
	}
	return k
}

// sayAs prints what OpenSSH says, in its words, if LogLevel lets it.
func (a *sshArgs) sayAs(level, text string) {
	if a.shows(level) {
		fmt.Fprintln(messages, strings.TrimRight(text, "\n"))
	}
}

// terminal asks questions on the controlling terminal, or by SSH_ASKPASS.
type terminal struct {
	lifetime context.Context // the program's: an interrupt ends a question
	mu       sync.Mutex      // one question at a time
	keys     *keys           // of a session, which reads the terminal; guarded by mu
}

// Ask implements setup.Prompter.
func (t *terminal) Ask(ctx context.Context, question string, echo bool) (string, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, may := askpassRules(os.Getenv)
	var tty *os.File
	if !first {
		tty, _ = os.OpenFile("/dev/tty", os.O_RDWR, 0)
	}
	if tty == nil {
		if !may {
			return "", false, nil
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stop := context.AfterFunc(t.lifetime, func() { cancel(context.Cause(t.lifetime)) })
		defer stop()
		return askpass(ctx, question)
	}
	defer tty.Close()
	if k := t.keys; k != nil {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stop := context.AfterFunc(t.lifetime, func() { cancel(context.Cause(t.lifetime)) })
		defer stop()
		return k.ask(ctx, tty, question, echo)
	}
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return "", false, nil
	}
	defer term.Restore(int(tty.Fd()), before)
	read := readLine
	if !echo {
		// Before the question, since some type at once.
		if err := hideTyping(tty); err != nil {
			return "", false, err
		}
		read = readHidden
	}
	fmt.Fprint(tty, question)
	type line struct {
		text string
		err  error
	}
	answer := make(chan line, 1)
	go func() { // outlives Ask only if nobody answers: then it ends with the program
		text, err := read(tty)
		answer <- line{text, err}
	}()
	select {
	case a := <-answer:
		if !echo || errors.Is(a.err, io.EOF) {
			fmt.Fprintln(tty)
		}
		if errors.Is(a.err, io.EOF) { // Ctrl-D: the person does not want to
			return "", false, nil
		}
		return a.text, true, a.err
	case <-t.lifetime.Done():
		err = context.Cause(t.lifetime)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	fmt.Fprintln(tty)
	return "", false, err
}

// give lets a session have the terminal once no question waits for an answer.
// Questions that come later are answered through k, its keys.
func (t *terminal) give(k *keys, take func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = k
	take()
}

func readLine(tty *os.File) (string, error) {
	line, err := bufio.NewReader(tty).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
