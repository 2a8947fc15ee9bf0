//go:build unix

package ssmgw

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// Machine is a node that runs scripts with this machine's sh. Its user database has
// one user, the one who runs the test, with a home of its own; and its sleep lasts
// until Expire.
type Machine struct {
	User, Home string

	path string // of its commands
	gate string // what its sleep waits for

	mu    sync.Mutex
	alive []*os.File // guarded by mu
}

// NewMachine makes a machine that ends with the test.
func NewMachine(t testing.TB) *Machine {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := &Machine{User: u.Username, Home: filepath.Join(dir, "home"), path: filepath.Join(dir, "bin"), gate: filepath.Join(dir, "gate")}
	for _, d := range []string{m.Home, m.path} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(m.gate, 0o600); err != nil {
		t.Fatal(err)
	}
	m.Command(t, "sleep", `echo "$1" >`+m.gate+`.slept; read -r nothing <`+m.gate+` || :`)
	m.Command(t, "getent", `[ "$2" = `+m.User+` ] && echo "$2:x:1000:1000::`+m.Home+`:/bin/sh"`)
	t.Cleanup(m.Expire)
	return m
}

// Command gives the machine a command of the test's: a script of sh.
func (m *Machine) Command(t testing.TB, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.path, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// Run is for Gateway.Run. What the script leaves running goes on.
func (m *Machine) Run(script string) (stderr string, status int) {
	alive, held, err := os.Pipe()
	if err != nil {
		return err.Error(), -1
	}
	m.mu.Lock()
	m.alive = append(m.alive, alive)
	m.mu.Unlock()
	defer held.Close()
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = []string{"LANG=C.UTF-8", "PATH=" + m.path + ":" + os.Getenv("PATH"), "HOME=/nonexistent"}
	cmd.ExtraFiles = []*os.File{held} // of all that it starts
	var text bytes.Buffer
	cmd.Stderr = &text
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return text.String(), exit.ExitCode()
	}
	if err != nil {
		return err.Error(), -1
	}
	return text.String(), 0
}

// Expire ends all sleep, and waits for what follows on it.
func (m *Machine) Expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, alive := range m.alive {
		ended := make(chan struct{})
		go func() { // ends with what Run left running
			defer close(ended)
			io.Copy(io.Discard, alive)
			alive.Close()
		}()
		for waiting := true; waiting; {
			// Without a sleeper there is nobody to open it.
			if gate, err := os.OpenFile(m.gate, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
				gate.Close()
			}
			select {
			case <-ended:
				waiting = false
			default:
				runtime.Gosched()
			}
		}
	}
	m.alive = nil
}

// Slept is for how many seconds the last sleep was to be.
func (m *Machine) Slept() int {
	b, _ := os.ReadFile(m.gate + ".slept")
	n, _ := strconv.Atoi(string(bytes.TrimSpace(b)))
	return n
}

// AuthorizedKeys is the user's file, "" if there is none.
func (m *Machine) AuthorizedKeys() string {
	b, _ := os.ReadFile(filepath.Join(m.Home, ".ssh", "authorized_keys"))
	return string(b)
}
