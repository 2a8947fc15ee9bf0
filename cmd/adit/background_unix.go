//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/session"
)

// startBackground starts the second program and waits until it is up, or has ended:
// with a status of 0, err is nil.
func startBackground(ctx context.Context) (up bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, fmt.Errorf("go into the background: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return false, fmt.Errorf("go into the background: %w", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	ours, its := os.NewFile(uintptr(pair[0]), "background"), os.NewFile(uintptr(pair[1]), "foreground")
	defer ours.Close()
	keepDescriptors()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{its} // descriptor 3
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=3:%d", backgroundEnv, os.Getpid()))
	err = cmd.Start()
	its.Close()
	if err != nil {
		return false, fmt.Errorf("go into the background: %w", err)
	}
	// An interrupt at the terminal reaches both; for others, the second ends when
	// we hang up.
	stop := context.AfterFunc(ctx, func() { ours.Close() })
	defer stop()
	if n, _ := ours.Read(make([]byte, 1)); n == 1 {
		return true, nil
	}
	err = cmd.Wait()
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case exited && exit.ExitCode() > 0:
		return false, exitError(exit.ExitCode())
	case exited:
		return false, exitError(255)
	}
	return false, err
}

// keepDescriptors keeps what whoever started us left open, such as a lock, from
// staying open in the background. OpenSSH closes it.
func keepDescriptors() {
	open, _ := os.ReadDir("/dev/fd")
	for _, d := range open {
		if fd, err := strconv.Atoi(d.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// inBackground returns the background if we are the second program; nil if not.
// ctx, which it returns, ends when the first program does before we are up.
func inBackground(ctx context.Context) (context.Context, *background) {
	fdText, parent, _ := strings.Cut(os.Getenv(backgroundEnv), ":")
	os.Unsetenv(backgroundEnv)
	fd, err := strconv.Atoi(fdText)
	if err != nil || fd < 3 || parent != strconv.Itoa(os.Getppid()) {
		return ctx, nil
	}
	unix.CloseOnExec(fd)
	b := &background{parent: os.NewFile(uintptr(fd), "foreground"), up: new(atomic.Bool)}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with the first program
		b.parent.Read(make([]byte, 1))
		if !b.up.Load() {
			cancel(signalError{unix.SIGHUP})
		}
	}()
	return ctx, b
}

// leave is detach, in the order of ssh.c's fork_postauth.
func (b *background) leave(std *session.Streams) error {
	if std != nil {
		out, err := duplicate(1)
		if err != nil {
			return err
		}
		errs, err := duplicate(2)
		if err != nil {
			return err
		}
		std.In, std.Out, std.Err = nil, out, errs
		std.OutEnded = func() { out.Close() }
	}
	streams := []int{0, 1}
	if b.quiet {
		streams = append(streams, 2)
	}
	if err := toNull(streams...); err != nil {
		return err
	}
	if _, err := unix.Setsid(); err != nil {
		return err
	}
	b.up.Store(true)
	_, err := b.parent.Write([]byte{1})
	return err
}

// closeStdout ends what reads our output. The null device takes its place, lest
// some socket get its number.
func closeStdout() { toNull(1) }

func duplicate(fd int) (*os.File, error) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(d), fmt.Sprintf("/dev/fd/%d", fd)), nil
}

// toNull puts the null device in the place of descriptors.
func toNull(fds ...int) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for _, fd := range fds {
		if err := dup2(int(null.Fd()), fd); err != nil {
			return os.NewSyscallError("dup", err)
		}
	}
	return nil
}
