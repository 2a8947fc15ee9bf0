package setup

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"testing"
)

func TestOwnWords(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	t.Setenv("USERPROFILE", "/home/me")
	for _, c := range []struct {
		line string
		want []string
	}{
		{"adit ssm i-1 22", []string{"ssm", "i-1", "22"}},
		{"exec /usr/bin/adit ssm --profile x ecs:c_t_r 22", []string{"ssm", "--profile", "x", "ecs:c_t_r", "22"}},
		{"adit", nil},
		{"", nil},
		{"nc adit ssm", nil},
		{"AWS_PROFILE=x adit ssm i-1 22", nil},
		{"adit ssm i-1 22 2>/dev/null", nil},
		{"adit ssm $TARGET 22", nil},
		{"adit ssm 'i-1' 22", nil},
		{"adit ssm i-1 22; echo", nil},
		{"~/bin/adit ssm --identity ~/id i-1 22", []string{"ssm", "--identity", filepath.FromSlash("/home/me/id"), "i-1", "22"}},
		{"adit ssm ~me/x 22", nil},
		{"adit ssm --identity=~/id i-1 22", nil},
	} {
		if got := ownWords(c.line); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

// The program does not start itself for its own commands.
func TestOwnCommandIsNotRun(t *testing.T) {
	reached := errors.New("reached in-process")
	var o Options
	o.Route.Command = "/nonexistent/adit ssm i-1 22"
	o.Route.Own = func(words []string) func(context.Context) (net.Conn, error) {
		if words[0] != "ssm" {
			return nil
		}
		return func(context.Context) (net.Conn, error) { return nil, reached }
	}
	if _, err := o.dialer()(t.Context(), "i-1:22"); !errors.Is(err, reached) {
		t.Errorf("%v, want %v", err, reached)
	}
	o.Route.Command = "/nonexistent/adit connect i-1 22"
	c, err := o.dialer()(t.Context(), "i-1:22")
	if err == nil { // the shell runs, and does not find it
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, reached) {
		t.Errorf("%v: another command is to be run, which fails", err)
	}
}
