package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/adit-ssh/adit/internal/session"
	"github.com/adit-ssh/adit/internal/wire"
)

// breakLength is how long ~B asks for, in milliseconds (RFC 4335; OpenSSH's).
const breakLength = 1000

// escape obeys the escape sequence of the escape character and c.
func (i *interactive) escape(c byte) (known bool, err error) {
	name := session.EscapeName(i.a.session.escape)
	show := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		fmt.Fprint(os.Stderr, strings.ReplaceAll(name+text, "\n", "\r\n"))
	}
	switch c {
	case '.':
		show(".\n")
		return true, session.ErrTerminated
	case 'Z' & 31:
		show("^Z [suspend ssh]\n")
		i.terminal.Suspend()
		i.tellSize(context.Background()) // before what is typed from now on
	case 'B':
		show("B\n")
		i.ch.SendRequest(context.Background(), "break", false, wire.AppendUint32(nil, breakLength))
	case 'R':
		i.c.Rekey()
	case 'V', 'v':
		if messages.elsewhere() {
			show("%c [Logging to syslog]\n", c)
			break
		}
		step := 1
		if c == 'V' {
			step = -1
		}
		show("%c [LogLevel %s]\n", c, i.a.observer.louder(step))
	case '#':
		show("#\n%s", i.a.observer.list())
	case 'C':
		i.escapeCommand()
	case '&':
		if !i.leave() {
			show("& [not there: start with -f to go into the background]\n")
			break
		}
		return true, session.ErrInputEnds
	case '?':
		show("?\n%s", i.escapeHelp())
	default:
		return false, nil
	}
	return true, nil
}

// leave is ~&: nobody new is forwarded, nothing is typed any more, and what goes
// on does so in the background. It reports whether there is one.
func (i *interactive) leave() bool {
	return i.terminal.Leave(func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		for _, f := range i.forwards {
			f.StopListening()
		}
		fmt.Fprintf(os.Stderr, "%s& [backgrounded]\n", session.EscapeName(i.a.session.escape))
	})
}

func (i *interactive) escapeHelp() string {
	lines := [][2]string{{".", "terminate connection (and any multiplexed sessions)"}, {"B", "send a BREAK to the remote system"}}
	if i.a.session.commandLine {
		lines = append(lines, [2]string{"C", "open a command line"})
	}
	lines = append(lines, [][2]string{{"R", "request rekey"}, {"V/v", "decrease/increase verbosity (LogLevel)"}, {"^Z", "suspend ssh"}, {"#", "list forwarded connections"},
		{"&", "background ssh (when waiting for connections to terminate)"}}...)
	return session.EscapeHelp(i.a.session.escape, lines)
}
