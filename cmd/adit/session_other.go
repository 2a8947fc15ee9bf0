//go:build !unix

package main

import (
	"context"
	"errors"
	"os/exec"
)

// withoutTerminal prepares a program that has no controlling terminal.
func withoutTerminal(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, name, args...)
}

// exitStatusOfChild tells an exit status from a program that could not be run or
// was killed.
func exitStatusOfChild(err error) (int, error) {
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.Exited() {
		return e.ExitCode(), nil
	}
	return 0, err
}
