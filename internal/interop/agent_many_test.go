package interop

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/testnet"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/internal/wire"
)

// However often the programs at a server use the agent, one after the other and many
// at once, nothing is left of it: no connection, channel, goroutine or descriptor, here
// and at the agent.
func TestForwardAgentManyTimes(t *testing.T) {
	testpeer.Need(t, "sshd")
	uses, together := 500, 200
	if testing.Short() {
		uses, together = 50, 20
	}
	if n, err := strconv.Atoi(os.Getenv("ADIT_RUNS")); err == nil { // make full
		uses = n
	}
	testnet.Census(t)
	s := testpeer.SSHD(t, testpeer.SSHDOptions{})
	path, ended := serveRing(t, ringOf(t, s.Key))
	c := dialSSHD(t, s)
	f := &agent.Forwarder{Dialer: agent.Socket(path)}
	ch, err := c.OpenChannel(t.Context(), wire.ChannelSession, nil, adit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	if err := c.ForwardAgent(t.Context(), ch, f); err != nil {
		t.Fatal(err)
	}
	if ok, err := ch.SendRequest(t.Context(), wire.RequestExec, true, (&wire.Text{Value: `echo "@$SSH_AUTH_SOCK@"; cat`}).Append(nil)); err != nil || !ok {
		t.Fatalf("exec: %v, %v", ok, err)
	}
	socket := ""
	for lines := bufio.NewScanner(ch); socket == "" && lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "@") {
			socket = strings.Trim(line, "@")
		}
	}
	use := func() error { // as a program at the server does
		nc, err := net.Dial("unix", socket)
		for errors.Is(err, syscall.EAGAIN) { // so many wait for sshd to accept them
			runtime.Gosched()
			nc, err = net.Dial("unix", socket)
		}
		if err != nil {
			return err
		}
		a := agent.NewClient(nc)
		defer a.Close()
		ids, err := a.List(t.Context())
		if err != nil || len(ids) != 1 {
			return fmt.Errorf("%d keys, %w", len(ids), err)
		}
		sig, err := a.Sign(t.Context(), ids[0].Blob, []byte("data"), 0)
		if err != nil {
			return err
		}
		return s.Key.Public.Verify([]byte("data"), sig)
	}
	descriptors, goroutines := testnet.Descriptors(t), runtime.NumGoroutine()
	for n := range uses {
		if err := use(); err != nil {
			t.Fatalf("use %d: %v", n, err)
		}
	}
	var all sync.WaitGroup
	for range together {
		all.Go(func() {
			if err := use(); err != nil {
				t.Errorf("one of %d at once: %v", together, err)
			}
		})
	}
	all.Wait()
	gotD, gotG := testnet.Descriptors(t), runtime.NumGoroutine()
	for end := time.Now().Add(10 * time.Second); (gotD > descriptors || gotG > goroutines) && time.Now().Before(end); runtime.Gosched() {
		gotD, gotG = testnet.Descriptors(t), runtime.NumGoroutine() // the last relays are just ending
	}
	t.Logf("after %d uses and %d at once: descriptors %d, before %d; goroutines %d, before %d", uses, together, gotD, descriptors, gotG, goroutines)
	if gotD > descriptors || gotG > goroutines {
		t.Error("something is left")
	}
	c.Close()
	ended() // hangs when a connection to the agent was left open
}
