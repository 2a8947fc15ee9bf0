package testpeer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// patience is how long a peer may take to start, to answer or to end. It only
// bounds tests that fail anyway, so it is long enough for a busy machine.
const patience = 60 * time.Second

// process is a running peer.
type process struct {
	name string
	cmd  *exec.Cmd
	log  logBuffer // standard error, and standard output unless it is a pipe

	ended chan struct{} // closed when it was waited for
	err   error         // what Wait said; read after ended
}

// start runs a command and sees to its end. Its output goes to the log, which
// is shown if the test fails.
func start(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{name: name, cmd: cmd, ended: make(chan struct{})}
	p.log.changed = make(chan struct{})
	cmd.Stderr = &p.log
	if cmd.Stdout == nil {
		cmd.Stdout = &p.log
	}
	if cmd.Env == nil {
		cmd.Env = cleanEnv(t.TempDir())
	}
	// Grandchildren may hold the output open; do not wait for them.
	cmd.WaitDelay = time.Second
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		p.log.close()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, p.log.String())
		}
	})
	return p
}

// kill ends the process and its children, and waits for it.
func (p *process) kill() {
	killGroup(p.cmd)
	<-p.ended
}

// waitLog waits until the log matches and returns the groups of the match.
func (p *process) waitLog(re *regexp.Regexp) ([]string, error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		text, changed := p.log.watch()
		if m := re.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		if changed == nil {
			return nil, fmt.Errorf("%s ended (%v) before it said %q; its log:\n%s", p.name, p.cmd.ProcessState, re, text)
		}
		select {
		case <-changed:
		case <-timeout.C:
			return nil, fmt.Errorf("%s did not say %q within %v; its log:\n%s", p.name, re, patience, text)
		}
	}
}

// logBuffer collects output and tells when there is more.
type logBuffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer  // guarded by mu
	changed chan struct{} // guarded by mu; closed at the next change; nil after the last
}

// maxLog bounds a log: what comes after is dropped.
const maxLog = 4 << 20

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := maxLog - l.buf.Len(); room > 0 {
		l.buf.Write(p[:min(len(p), room)])
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = make(chan struct{})
	}
	return len(p), nil
}

func (l *logBuffer) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *logBuffer) watch() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String(), l.changed
}

func (l *logBuffer) String() string {
	text, _ := l.watch()
	return text
}

// cleanEnv is the environment of a peer: nothing of the user's own SSH setup.
func cleanEnv(home string, more ...string) []string {
	env := []string{"HOME=" + home, "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "LC_ALL=C.UTF-8", "TMPDIR=" + os.TempDir()}
	return append(env, more...)
}

// freePort returns a loopback port that nobody listens on now. Somebody may
// take it before the caller does, so callers try again (startOnPort).
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// startOnPort starts a program that must be told its port, and waits until it
// says that it listens. If the port was taken meanwhile it tries another.
func startOnPort(t testing.TB, name string, ready *regexp.Regexp, cmd func(port int) *exec.Cmd) (*process, int) {
	t.Helper()
	for try := 1; ; try++ {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, name, cmd(port))
		if _, err = p.waitLog(ready); err == nil {
			return p, port
		}
		taken := strings.Contains(p.log.String(), "ddress already in use")
		if !taken || try == 5 {
			t.Fatal(err)
		}
		p.kill()
	}
}

// serveInetd answers each connection with a program of its own whose standard
// input and output are the socket, as inetd does.
func serveInetd(t testing.TB, name string, cmd func() *exec.Cmd) (addr string, log *logBuffer) {
	t.Helper()
	log = &logBuffer{changed: make(chan struct{})}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, log.String())
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	addr = testnet.ServeTCP(t, func(conn *net.TCPConn) {
		if err := runInetd(ctx, conn, cmd(), log); err != nil {
			fmt.Fprintf(log, "%s: %v\n", name, err)
		}
	})
	t.Cleanup(cancel)
	return addr, log
}

func runInetd(ctx context.Context, conn *net.TCPConn, cmd *exec.Cmd, log io.Writer) error {
	f, err := conn.File()
	conn.Close()
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, log
	cmd.WaitDelay = time.Second
	ownGroup(cmd)
	err = cmd.Start()
	f.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { killGroup(cmd) })
	defer stop()
	return cmd.Wait()
}

func listen(t testing.TB) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.(*net.TCPListener)
}
