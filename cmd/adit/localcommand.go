package main

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"runtime"
)

// runLocal runs LocalCommand, and waits for it. How it ends does not matter
// (sshconnect.c, ssh_local_cmd).
func (a *sshArgs) runLocal(ctx context.Context) error {
	if a.session.local == "" {
		return nil
	}
	runShell(ctx, a.session.local)
	return context.Cause(ctx)
}

// runShell runs a command line with the person's shell, on our standard streams.
func runShell(ctx context.Context, line string) {
	cmd := exec.CommandContext(ctx, cmp.Or(os.Getenv("SHELL"), "/bin/sh"), "-c", line)
	if runtime.GOOS == "windows" {
		cmd = exec.CommandContext(ctx, cmp.Or(os.Getenv("COMSPEC"), "cmd.exe"), "/c", line)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Run()
}
