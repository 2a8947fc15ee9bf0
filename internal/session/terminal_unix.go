//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package session

import (
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-ssh/adit/internal/wire"
)

// cooked is a terminal that is not raw.
type cooked = unix.Termios

// makeRaw is enter_raw_mode of OpenSSH's sshtty.c.
func (t *Terminal) makeRaw() (*cooked, error) {
	now, err := t.get()
	if err != nil {
		return nil, err
	}
	saved := *now
	now.Iflag |= unix.IGNPAR
	now.Iflag &^= unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON | unix.IXANY | unix.IXOFF
	now.Lflag &^= unix.ISIG | unix.ICANON | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHONL | unix.IEXTEN
	now.Oflag &^= unix.OPOST
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if err := t.set(now); err != nil {
		return nil, err
	}
	return &saved, nil
}

func (t *Terminal) makeCooked(c *cooked) { t.set(c) }

func (t *Terminal) get() (*unix.Termios, error) {
	return unix.IoctlGetTermios(int(t.in.Fd()), tcGet)
}

func (t *Terminal) set(to *unix.Termios) error {
	for {
		if err := unix.IoctlSetTermios(int(t.in.Fd()), tcSet, to); err != unix.EINTR {
			return err
		}
	}
}

// Modes returns its modes for pty-req: those before Raw.
func (t *Terminal) Modes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved != nil {
		return modesOf(t.saved)
	}
	if now, err := t.get(); err == nil {
		return modesOf(now)
	}
	return NoModes()
}

// Size returns its size; zeros if nobody knows.
func (t *Terminal) Size() wire.WindowChange {
	ws, err := unix.IoctlGetWinsize(int(t.in.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return wire.WindowChange{}
	}
	return wire.WindowChange{Columns: uint32(ws.Col), Rows: uint32(ws.Row), Width: uint32(ws.Xpixel), Height: uint32(ws.Ypixel)}
}

// Resized tells when the size may have changed, also while we were stopped, until
// stop is called.
func (t *Terminal) Resized() (changed <-chan struct{}, stop func()) {
	signals, out, done := make(chan os.Signal, 1), make(chan struct{}, 1), make(chan struct{})
	signal.Notify(signals, unix.SIGWINCH, unix.SIGCONT)
	var wg sync.WaitGroup
	wg.Go(func() { // ends with stop
		for {
			select {
			case <-signals:
				select {
				case out <- struct{}{}:
				default:
				}
			case <-done:
				return
			}
		}
	})
	return out, func() {
		signal.Stop(signals)
		close(done)
		wg.Wait()
	}
}

// orphanWait is how long Suspend waits to be stopped and continued. It counts only
// where we are not stopped at all: in a process group without a shell that could
// continue it.
const orphanWait = 200 * time.Millisecond

// Suspend stops the process as ^Z would, with the terminal as it was before Raw,
// and returns when it goes on, the terminal raw again.
func (t *Terminal) Suspend() {
	wasRaw := t.IsRaw()
	t.Restore()
	stop()
	if wasRaw {
		t.Raw()
	}
}

// continueLater continues its parent. By then a shell that saw it stop has taken
// the terminal back.
const continueLater = `sleep 1; kill -CONT "$PPID"`

// Leave is End, and goes on in the background: OpenSSH's ~& forks for that, which
// a Go program can't. The process stops, so that its shell goes on, and another
// one continues it, as bg does. before is called when that can be done, which is also
// the result.
func (t *Terminal) Leave(before func()) bool {
	cmd := exec.Command("/bin/sh", "-c", continueLater)
	if cmd.Start() != nil {
		return false
	}
	t.End()
	before()
	stop()
	cmd.Wait()
	return true
}

// stop stops the process, and returns when it goes on.
func stop() {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	// The stop may take effect on another thread a moment later.
	if syscall.Kill(os.Getpid(), syscall.SIGTSTP) == nil {
		timeout := time.NewTimer(orphanWait)
		select {
		case <-continued:
		case <-timeout.C:
		}
		timeout.Stop()
	}
	signal.Stop(continued)
}
