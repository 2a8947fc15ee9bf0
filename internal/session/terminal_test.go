//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package session

import (
	"bytes"
	"os"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

// openTerminal returns a person's side and a program's side.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, program, err := pty.Open()
	if err != nil {
		testpeer.Missing(t, "no terminals here: %v", err)
	}
	t.Cleanup(func() {
		person.Close()
		program.Close()
	})
	return person, program
}

func TestRaw(t *testing.T) {
	person, program := openTerminal(t)
	term := NewTerminal(program, program)
	before, err := term.get()
	if err != nil {
		t.Fatal(err)
	}
	modes := term.Modes()
	for range 2 { // twice is once
		if err := term.Raw(); err != nil || !term.IsRaw() {
			t.Fatalf("raw mode: %v, raw %t", err, term.IsRaw())
		}
	}
	if !bytes.Equal(term.Modes(), modes) {
		t.Error("the modes of a raw terminal are told, want those before")
	}
	if _, err := person.WriteString("\x03\r\x1a\xff"); err != nil {
		t.Fatal(err)
	}
	keys := make([]byte, 4)
	for n := 0; n < len(keys); {
		m, err := program.Read(keys[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if string(keys) != "\x03\r\x1a\xff" {
		t.Errorf("read %q, want each key as it is", keys)
	}
	for range 2 {
		term.Restore()
	}
	if after, err := term.get(); err != nil || *after != *before || term.IsRaw() {
		t.Errorf("after Restore the terminal is %+v, %v, want %+v", after, err, before)
	}
	if err := term.Raw(); err != nil {
		t.Fatal(err)
	}
	term.End()
	if err := term.Raw(); err == nil {
		t.Error("after End the terminal is raw again")
	}
	if after, err := term.get(); err != nil || *after != *before {
		t.Errorf("after End the terminal is %+v, %v, want %+v", after, err, before)
	}
}

func TestModes(t *testing.T) {
	_, program := openTerminal(t)
	term := NewTerminal(program, program)
	now, err := term.get()
	if err != nil {
		t.Fatal(err)
	}
	now.Cc[unix.VINTR], now.Cc[unix.VEOF] = 'x', vDisable
	now.Lflag &^= unix.ECHO
	now.Iflag |= unix.IXON
	if err := term.set(now); err != nil {
		t.Fatal(err)
	}
	got := map[byte]uint32{}
	p := wire.NewParser(term.Modes())
	for op := p.Byte(); op != opEnd; op = p.Byte() {
		got[op] = p.Uint32()
	}
	if p.Err() != nil || len(got) < 40 {
		t.Fatalf("%d modes, %v, want some 50", len(got), p.Err())
	}
	// VINTR, VEOF, ECHO, IXON, ISIG of RFC 4254, section 8.
	for op, want := range map[byte]uint32{1: 'x', 5: 255, 53: 0, 38: 1, 50: 1} {
		if got[op] != want {
			t.Errorf("mode %d is %d, want %d", op, got[op], want)
		}
	}
}

func TestSize(t *testing.T) {
	person, program := openTerminal(t)
	term := NewTerminal(program, program)
	changed, stop := term.Resized()
	defer stop()
	if err := pty.Setsize(person, &pty.Winsize{Cols: 132, Rows: 43, X: 1, Y: 2}); err != nil {
		t.Fatal(err)
	}
	if got, want := term.Size(), (wire.WindowChange{Columns: 132, Rows: 43, Width: 1, Height: 2}); got != want {
		t.Errorf("the size is %+v, want %+v", got, want)
	}
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil { // it is not our own terminal
		t.Fatal(err)
	}
	<-changed
}

// Standard input that is no terminal has nothing to tell.
func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	term := NewTerminal(r, w)
	if IsTerminal(r) || term.Raw() == nil || term.IsRaw() || term.Size() != (wire.WindowChange{}) || !bytes.Equal(term.Modes(), NoModes()) {
		t.Error("a pipe is taken for a terminal")
	}
	term.Restore()
}
