//go:build linux

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/testpeer/ssmgw"
)

const ssmNode = "i-0123456789abcdef0"

// ssmEnv is the environment of programs that reach a gateway.
func ssmEnv(t *testing.T, g *ssmgw.Gateway) []string {
	t.Helper()
	return ssmgw.Env(g.Serve(t), t.TempDir())
}

// ssmProgram is adit with a gateway for AWS, and nothing of the person's.
func ssmProgram(t *testing.T, g *ssmgw.Gateway, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("adit", args...)
	cmd.Env = append(os.Environ(), append(ssmEnv(t, g), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")...)
	return cmd
}

// launch starts a program whose input stays open. What it says on standard error is
// in said. The test's end is the program's, at the latest.
func launch(t *testing.T, cmd *exec.Cmd) (in io.Closer, said *lockedBuffer) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said = new(lockedBuffer)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stuck := time.AfterFunc(patience, func() {
			t.Errorf("%q does not end", cmd.Args)
			cmd.Process.Kill()
		})
		defer stuck.Stop()
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	return in, said
}

// started is where a program listens, as it says.
func started(t *testing.T, cmd *exec.Cmd, listening *regexp.Regexp) string {
	t.Helper()
	_, said := launch(t, cmd)
	return said.await(t, listening)
}

// lockedBuffer is what a program has said by now.
type lockedBuffer struct {
	mu   sync.Mutex
	said bytes.Buffer  // guarded by mu, as below
	more chan struct{} // closed when there is more; nil if nobody waits
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.said.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.said.String()
}

// await waits until it has said something, and returns the part in parentheses.
func (b *lockedBuffer) await(t *testing.T, what *regexp.Regexp) string {
	t.Helper()
	limit := time.After(patience)
	for {
		b.mu.Lock()
		m := what.FindSubmatch(b.said.Bytes())
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		if m != nil {
			return string(m[1])
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("it does not say %v:\n%s", what, b)
		}
	}
}

// What programs say when they listen: adit ssm --local, adit ssh -L.
var (
	forwardingTo  = regexp.MustCompile(`(?m)^adit: forwarding (127\.0\.0\.1:\d+) to `)
	sshForwarding = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
)

// exchange sends a text and returns as much of what comes back.
func exchange(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Error(err)
	}
	return string(got)
}

// downloads runs several at once through a local port.
func downloads(t *testing.T, addr string, n int, size int64) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { move(t, addr, testpeer.Download, size) })
	}
	wg.Wait()
}

// move runs one transfer through a local port.
func move(t *testing.T, addr string, transfer func(io.ReadWriter, int64) error, size int64) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if err := transfer(c, size); err != nil {
		t.Error(err)
	}
}

// downloadsOver runs downloads until so many sessions have carried one each: those behind
// the first may come up after connections have begun.
func downloadsOver(t *testing.T, g *ssmgw.Gateway, addr string, sessions, n int, size int64) {
	t.Helper()
	for end := time.Now().Add(patience); busy(g, size) < sessions; {
		if time.Now().After(end) {
			t.Fatalf("%d sessions carried a download, want %d: %v bytes", busy(g, size), sessions, g.Carried())
		}
		downloads(t, addr, n, size)
	}
}

// busy is how many sessions carried more than a login does.
func busy(g *ssmgw.Gateway, least int64) (n int) {
	for _, bytes := range g.Carried() {
		if bytes >= least {
			n++
		}
	}
	return n
}
