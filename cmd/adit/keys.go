package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/adit-ssh/adit/internal/session"
)

// keys are what a person types during a session. A question that comes meanwhile,
// such as the one about new host keys, is answered through them, since the session
// reads the terminal all the time: what the session's read returns is the answer
// then. ssh reads it in the session's place (clientloop.c,
// update_known_hosts).
type keys struct {
	in       *os.File
	terminal *session.Terminal
	ended    chan struct{} // closed with the session

	mu     sync.Mutex
	answer chan string // capacity 1; nil when nothing is asked; guarded by mu
}

// Read implements io.Reader. It restores the terminal when it panics: that is where
// most of our own code runs while the terminal is raw.
func (k *keys) Read(p []byte) (int, error) {
	defer func() {
		if r := recover(); r != nil {
			k.terminal.Restore()
			panic(fmt.Sprintf("BUG: %v", r))
		}
	}()
	for {
		session.AwaitInput(k.in)
		n, err := k.in.Read(p)
		if !k.answered(string(p[:n]), err) {
			return n, err
		}
	}
}

// answered reports whether what was read was the answer to a question: a whole
// line, or Ctrl-D. Keys before it, of a terminal that was raw then, are the
// session's.
func (k *keys) answered(text string, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	end := text == "" && err == io.EOF
	if k.answer == nil || !end && !strings.HasSuffix(text, "\n") {
		return false
	}
	k.answer <- text
	k.answer = nil
	return true
}

// ask asks for one line. ok is false when the session has ended, or for Ctrl-D. One
// question at a time.
func (k *keys) ask(ctx context.Context, tty *os.File, question string, echo bool) (line string, ok bool, err error) {
	answer := make(chan string, 1)
	k.mu.Lock()
	k.answer = answer
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.answer = nil
		k.mu.Unlock()
	}()
	if k.terminal.IsRaw() {
		k.terminal.Restore()
		defer k.terminal.Raw() // in vain after the session's end
	}
	if !echo {
		before, err := term.GetState(int(tty.Fd()))
		if err == nil {
			err = hideTyping(tty)
		}
		if err != nil {
			return "", false, err
		}
		defer term.Restore(int(tty.Fd()), before)
	}
	fmt.Fprint(tty, question)
	select {
	case text := <-answer:
		if !echo || text == "" {
			fmt.Fprintln(tty)
		}
		return strings.TrimRight(text, "\r\n"), text != "", nil
	case <-k.ended:
		return "", false, nil
	case <-ctx.Done():
		return "", false, context.Cause(ctx)
	}
}
