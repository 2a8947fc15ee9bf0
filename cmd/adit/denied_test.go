package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/adit-ssh/adit"
)

// The last line is OpenSSH's, and hints tell what to do about it.
func TestDenied(t *testing.T) {
	six := []string{"publickey a", "publickey agent key b", "publickey agent key c", "publickey agent key d", "publickey agent key e", "publickey agent key f"}
	for _, tt := range []struct {
		target     string
		err        error
		line, hint string
	}{
		{"ann@db:22", &adit.AuthError{Remaining: []string{"publickey", "password"}}, "ann@db: Permission denied (publickey,password).", "name a key with -i"},
		{"ann@[::1]:2222", &adit.AuthError{Tried: six[:1], Remaining: []string{"publickey"}}, "ann@::1: Permission denied (publickey).", "is that the right user"},
		{"ann@corp@db:22", &adit.AuthError{Tried: []string{"password"}, Remaining: []string{"pass\x1bword"}}, "ann@corp@db: Permission denied (password).", ""},
		{"ann@db:22", &adit.AuthError{Tried: six, Err: &adit.DisconnectError{}}, "", "it had 6, 5 of them from the agent"},
		{"ann@db:22", &adit.AuthError{Tried: six[:1], Notes: []string{"a does not sign: it needs a passphrase"}}, "ann@db: Permission denied ().", "the server would take that key"},
		{"ann@db:22", fmt.Errorf("authenticate: %w", io.EOF), "", "LoginGraceTime"},
		{"ann@db:22", errors.New("out of luck"), "", ""},
	} {
		err := &adit.StageError{Stage: "login", Target: tt.target, Err: tt.err}
		if got := deniedLine(err); got != tt.line {
			t.Errorf("%v: last line %q, want %q", err, got, tt.line)
		}
		if got := hint(err); !strings.Contains(got, tt.hint) || (got == "") != (tt.hint == "") {
			t.Errorf("%v: hint %q, want %q", err, got, tt.hint)
		}
	}
}
