//go:build unix

package control

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/session"
	"github.com/adit-ssh/adit/internal/wire"
)

// ptyRequest asks for a terminal like a client's, whose standard input fd is.
func ptyRequest(fd int, term string) *wire.PtyReq {
	size := terminalSize(fd)
	return &wire.PtyReq{Term: term, Columns: size.Columns, Rows: size.Rows, Width: size.Width, Height: size.Height, Modes: terminalModes(fd)}
}

// terminalModes are those of a terminal, or those that OpenSSH sends for none.
func terminalModes(fd int) []byte {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return session.NoModes()
	}
	f := os.NewFile(uintptr(copied), "terminal")
	defer f.Close()
	return session.NewTerminal(f, f).Modes()
}

// terminalSize is the size of a terminal, all 0 if it is none.
func terminalSize(fd int) wire.WindowChange {
	w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return wire.WindowChange{}
	}
	return wire.WindowChange{Columns: uint32(w.Col), Rows: uint32(w.Row), Width: uint32(w.Xpixel), Height: uint32(w.Ypixel)}
}

// maxEscape is the last character that can be an escape character.
const maxEscape = 0xff

// breakLength is how long ~B asks for, in milliseconds: OpenSSH's.
const breakLength = 1000

// obeyEscapes takes escape sequences out of what is typed. Those that act on the
// master's own terminal are not for its clients, as in OpenSSH (clientloop.c,
// process_escapes).
func (p *passenger) obeyEscapes(char byte) {
	p.streams[0].Reader = &session.Escapes{In: p.streams[0].Reader, Char: char, Do: func(c byte) (known bool, err error) {
		show := func(format string, args ...any) {
			fmt.Fprintf(p.streams[2], "%s"+format, append([]any{session.EscapeName(char)}, args...)...)
		}
		switch c {
		case '.':
			show(".\r\n")
			return true, session.ErrTerminated
		case 'B':
			show("B\r\n")
			p.ch.SendRequest(p.c.m.lifetime, "break", false, wire.AppendUint32(nil, breakLength))
		case 'R':
			p.c.m.cfg.Client.Rekey()
		case '#':
			list := ""
			if p.c.m.cfg.ListChannels != nil {
				list = p.c.m.cfg.ListChannels()
			}
			show("#\r\n%s", lines(list))
		case '?':
			help := session.EscapeHelp(char, [][2]string{{".", "terminate session"}, {"B", "send a BREAK to the remote system"},
				{"R", "request rekey"}, {"#", "list forwarded connections"}})
			show("?\r\n%s", lines(help))
		default:
			answer, known := session.NotShared(c)
			if known {
				show("%s\r\n", answer)
			}
			return known, nil
		}
		return true, nil
	}}
}

// lines is a text for a raw terminal.
func lines(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// terminated reports whether the person ended the session by an escape sequence.
func terminated(err error) bool { return errors.Is(err, session.ErrTerminated) }
