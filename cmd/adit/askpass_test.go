package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestAskpassRules(t *testing.T) {
	for _, tt := range []struct {
		display, wayland, require string
		first, may                bool
	}{
		{"", "", "", false, false},
		{":0", "", "", false, true},
		{"", "wayland-0", "", false, true},
		{"", "", "prefer", false, false},
		{":0", "", "prefer", true, true},
		{"", "", "force", true, true},
		{"", "", "FORCE", true, true},
		{":0", "", "never", false, false},
		{":0", "", "nonsense", false, true},
	} {
		env := map[string]string{"DISPLAY": tt.display, "WAYLAND_DISPLAY": tt.wayland, "SSH_ASKPASS_REQUIRE": tt.require}
		if first, may := askpassRules(func(k string) string { return env[k] }); first != tt.first || may != tt.may {
			t.Errorf("%v: first %v, may %v; want %v, %v", env, first, may, tt.first, tt.may)
		}
	}
}

func TestAskpass(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are shell scripts")
	}
	program := func(script string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "ask pass")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SSH_ASKPASS", path)
	}
	for _, tt := range []struct {
		script, want string
		ok           bool
	}{
		{`echo "to: $1"; echo more`, "to: Who?", true},
		{`printf 'no end'`, "no end", true},
		{`printf 'dos\r\n'`, "dos", true},
		{`echo cancelled; exit 1`, "", false},
		{`kill -9 $$`, "", false},
		{`head -c 200000 /dev/zero | tr "\\0" x`, "", true},
	} {
		program(tt.script)
		got, ok, err := askpass(t.Context(), "Who?")
		if tt.want == "" && tt.ok {
			if len(got) != maxAskpass || err != nil {
				t.Errorf("an endless answer: %d bytes, %v, want %d", len(got), err, maxAskpass)
			}
			continue
		}
		if got != tt.want || ok != tt.ok || err != nil {
			t.Errorf("%s: got %q, %v, %v; want %q, %v", tt.script, got, ok, err, tt.want, tt.ok)
		}
	}
	t.Setenv("SSH_ASKPASS", "/no/such/program")
	if _, _, err := askpass(t.Context(), "Who?"); err == nil {
		t.Error("a program that is not there gives no error")
	}
	program("exec sleep 1000")
	cause := errors.New("given up")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	if _, ok, err := askpass(ctx, "Who?"); ok || err != cause {
		t.Errorf("given up: got %v, %v, want %v", ok, err, cause)
	}
}

// A question for yes or no goes to the program alone, which learns that it is
// one; an empty answer and yes are consent.
func TestConfirm(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are shell scripts")
	}
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")
	who := &terminal{lifetime: t.Context()}
	for script, want := range map[string]bool{
		`echo yes`: true, `echo YES`: true, `echo`: true, `true`: true, `echo no`: false, `echo y`: false, `exit 1`: false, `echo yes; exit 1`: false,
		`[ "$SSH_ASKPASS_PROMPT" = confirm ] || echo no`: true,
	} {
		path := filepath.Join(t.TempDir(), "askpass")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SSH_ASKPASS", path)
		if got, err := who.Confirm(t.Context(), "Really?"); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", script, got, err, want)
		}
	}
	t.Setenv("SSH_ASKPASS_REQUIRE", "never")
	if got, err := who.Confirm(t.Context(), "Really?"); got || err != nil {
		t.Errorf("where no program may be asked: got %v, %v, want no", got, err)
	}
}
