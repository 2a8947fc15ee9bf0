//go:build unix

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/adit-ssh/adit/agent"
)

// A service manager's socket is served in the foreground, and left where it is
// (sd_listen_fds(3)); what is no socket is an error.
func TestListenFDs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	socket, err := l.File()
	l.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	start := func(fd *os.File) *exec.Cmd {
		t.Helper()
		// The program's number is known when it runs.
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec adit agent -D")
		cmd.ExtraFiles = []*os.File{fd}
		return cmd
	}
	cmd := start(socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("unix", path) // waits in the backlog until the agent is up
	if err != nil {
		t.Fatal(err)
	}
	c := agent.NewClient(nc)
	if ids, err := c.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("got %v, %v", ids, err)
	}
	c.Close()
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 2 {
		t.Errorf("exit status %d, want 2, as ssh-agent's", got)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket is somebody else's: %v", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	out, err := start(null).CombinedOutput()
	if err == nil || string(out) != "adit: error: LISTEN_FDS: descriptor 3 is no listening socket: socket operation on non-socket\n" {
		t.Errorf("with no socket: %v, %q", err, out)
	}
}
