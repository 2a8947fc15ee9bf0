package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// askpassRules say when a program asks in the terminal's place (ssh(1),
// SSH_ASKPASS and SSH_ASKPASS_REQUIRE; OpenSSH, readpass.c): first is to ask it
// before the terminal, may to ask it at all.
func askpassRules(getenv func(string) string) (first, may bool) {
	may = getenv("DISPLAY") != "" || getenv("WAYLAND_DISPLAY") != ""
	switch strings.ToLower(getenv("SSH_ASKPASS_REQUIRE")) {
	case "force":
		return true, true
	case "prefer":
		return may, may
	case "never":
		return false, false
	}
	return false, may
}

// maxAskpass is the longest answer that is taken, in bytes.
const maxAskpass = 64 << 10

// askpass has SSH_ASKPASS, or ssh-askpass, ask. ok is false when it gave no
// answer: a person who cancels is no error. env is added to its environment.
func askpass(ctx context.Context, question string, env ...string) (answer string, ok bool, err error) {
	program := os.Getenv("SSH_ASKPASS")
	if program == "" {
		program = "ssh-askpass"
	}
	cmd := exec.CommandContext(ctx, program, question)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	out := &limitedBuffer{limit: maxAskpass}
	cmd.Stdout = out
	err = cmd.Run()
	defer clear(out.b)
	switch {
	case ctx.Err() != nil:
		return "", false, context.Cause(ctx)
	case err == nil:
		line, _, _ := strings.Cut(string(out.b), "\n")
		return strings.TrimSuffix(line, "\r"), true, nil
	}
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		return "", false, nil
	}
	return "", false, fmt.Errorf("SSH_ASKPASS: %w", err)
}

// Confirm implements setup.Confirmer. Only the program is asked, with
// SSH_ASKPASS_PROMPT=confirm; where it may not be, the answer is no (OpenSSH,
// readpass.c, ask_permission).
func (t *terminal) Confirm(ctx context.Context, question string) (yes bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, may := askpassRules(os.Getenv); !may {
		return false, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(t.lifetime, func() { cancel(context.Cause(t.lifetime)) })
	defer stop()
	answer, ok, err := askpass(ctx, question, "SSH_ASKPASS_PROMPT=confirm")
	return ok && (answer == "" || strings.EqualFold(answer, "yes")), err
}

// limitedBuffer keeps the first bytes and drops the rest.
type limitedBuffer struct {
	b     []byte
	limit int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p[:min(len(p), max(0, b.limit-len(b.b)))]...)
	return len(p), nil
}
