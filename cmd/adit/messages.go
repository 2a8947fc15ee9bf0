package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// messages is where errors, hints, warnings and -v go: standard error, or what -E
// and -y name.
var messages = &messageWriter{w: os.Stderr}

// messageWriter writes lines that a raw terminal shows as lines too.
type messageWriter struct {
	mu    sync.Mutex
	w     io.Writer   // guarded by mu
	isRaw func() bool // nil without a terminal; guarded by mu
}

// Write implements io.Writer. It reports no errors: there is nowhere to tell them.
func (m *messageWriter) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := p
	if m.isRaw != nil && m.w == os.Stderr && m.isRaw() {
		text = bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))
	}
	m.w.Write(text)
	return len(p), nil
}

// to sends messages to w from now on.
func (m *messageWriter) to(w io.Writer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.w = w
}

// onTerminal says how to find out whether the terminal is raw.
func (m *messageWriter) onTerminal(isRaw func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.isRaw = isRaw
}

// elsewhere reports whether messages do not go to standard error.
func (m *messageWriter) elsewhere() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.w != os.Stderr
}

// divert obeys -E, which appends to a file, and -y.
func (a *sshArgs) divert() error {
	switch {
	case a.logFile != "" && a.syslog:
		//lint:ignore ST1005 OpenSSH's words
		return &usageError{"ssh", errors.New("Can't specify both -y and -E")}
	case a.logFile != "":
		f, err := os.OpenFile(a.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return &usageError{"ssh", fmt.Errorf("-E: %w", err)}
		}
		messages.to(f) // open until the program ends
	case a.syslog:
		w, err := openSyslog("USER") // until a configuration says otherwise
		if err != nil {
			return &usageError{"ssh", fmt.Errorf("-y: %w", err)}
		}
		messages.to(w)
	}
	return nil
}
