package session

import (
	"os"

	"golang.org/x/sys/windows"
)

// showSequences makes a console obey terminal sequences.
func showSequences(out *os.File) (undo func()) {
	h := windows.Handle(out.Fd())
	var before uint32
	if windows.GetConsoleMode(h, &before) != nil {
		return func() {}
	}
	windows.SetConsoleMode(h, before|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING|windows.DISABLE_NEWLINE_AUTO_RETURN)
	return func() { windows.SetConsoleMode(h, before) }
}
