package setup

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/knownhosts"
	"github.com/adit-ssh/adit/sshconfig"
)

const (
	// commandPatience is how long KnownHostsCommand may take. OpenSSH would wait
	// for ever.
	commandPatience = time.Minute
	// maxCommandOutput is how much KnownHostsCommand may write, in bytes.
	maxCommandOutput = 16 << 20
	// commandGrace is how long a command that has ended may leave its output open.
	commandGrace = time.Second
)

const commandSource = "KnownHostsCommand-"

// fromCommand reports whether a line came from KnownHostsCommand.
func (h *hostKeys) fromCommand(e *knownhosts.Entry) bool {
	return h.o.KnownHostsCommand != nil && strings.HasPrefix(e.File, commandSource)
}

// command returns db with what KnownHostsCommand says about a host (OpenSSH,
// sshconnect.c, load_hostkeys_command). invocation is why it is asked: ORDER
// before the connection, with no key; HOSTNAME and ADDRESS to judge a key. One
// that can't be started adds nothing, as for OpenSSH; one that fails ends the
// connection.
func (h *hostKeys) command(db *knownhosts.DB, invocation, host string, key gossh.PublicKey) (*knownhosts.DB, error) {
	if h.o.KnownHostsCommand == nil {
		return db, nil
	}
	tag := commandSource + invocation
	args := sshconfig.KnownHostsArgs{Invocation: invocation, Host: host}
	if key != nil {
		args.KeyType, args.Fingerprint = key.Type(), h.o.fingerprint(key)
		args.Key = base64.StdEncoding.EncodeToString(key.Marshal())
	}
	argv, err := h.o.KnownHostsCommand(args)
	if err != nil {
		h.o.say(levelError, "%s: %v", tag, err)
		return db, nil
	}
	lifetime := h.o.lifetime()
	out, started, err := runCommand(lifetime, argv)
	if lifetime.Err() != nil {
		return nil, context.Cause(lifetime)
	}
	if err != nil {
		h.o.say(levelError, "%s %s: %v", tag, argv[0], err)
		if !started {
			return db, nil
		}
		return nil, fmt.Errorf("KnownHostsCommand failed: %s %s: %w", invocation, argv[0], err)
	}
	if invocation == "ORDER" {
		full := h.name(h.o.address()).String()
		return db.Add(tag, out, full, host, full), nil
	}
	more := db.Add(tag, out, "", host)
	h.o.skipped(more.Warnings[len(db.Warnings):])
	return more, nil
}

// runCommand runs a program without a shell and returns what it writes. Its
// standard error is ours.
func runCommand(lifetime context.Context, argv []string) (out []byte, started bool, err error) {
	timed, cancel := context.WithTimeoutCause(lifetime, commandPatience, fmt.Errorf("no end after %v", commandPatience))
	defer cancel()
	ctx, stop := context.WithCancelCause(timed)
	defer stop(nil)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	b := &bounded{limit: maxCommandOutput, over: func() { stop(fmt.Errorf("more than %d bytes of output", maxCommandOutput)) }}
	cmd.Stdout = b
	cmd.WaitDelay = commandGrace
	if err := cmd.Start(); err != nil {
		return nil, false, err
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, true, context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay): // a child of its own still holds the output
		return b.b.Bytes(), true, nil
	}
	return b.b.Bytes(), true, err
}

// bounded takes a number of bytes; at more it calls over. The buffer is not
// embedded: its ReadFrom would take all.
type bounded struct {
	b     bytes.Buffer
	limit int
	over  func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.b.Len()+len(p) > b.limit {
		b.over()
		return 0, errors.New("too much output")
	}
	return b.b.Write(p)
}
