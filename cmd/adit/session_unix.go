//go:build unix

package main

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
)

// withoutTerminal prepares a program that has no controlling terminal.
func withoutTerminal(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return c
}

// exitStatusOfChild tells an exit status from a program that could not be run or
// was killed.
func exitStatusOfChild(err error) (int, error) {
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.Exited() {
		return e.ExitCode(), nil
	}
	return 0, err
}
