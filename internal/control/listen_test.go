//go:build unix

package control

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

func listenAt(t *testing.T, path string) *Listener {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// names are the files in a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cm")
	l := listenAt(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("got mode %v, %v, want a socket with 0600", info.Mode(), err)
	}
	_, err = Listen(path)
	exists, ok := errors.AsType[*ExistsError](err)
	if want := "ControlSocket " + path + " already exists, disabling multiplexing"; !ok || exists.Error() != want {
		t.Errorf("a second master: got %v, want %s", err, want)
	}
	if got := names(t, dir); got != "cm" {
		t.Errorf("beside the socket there are %s", got)
	}
	if err := l.Close(); err != nil || names(t, dir) != "" {
		t.Errorf("Close: %v, it left %s", err, names(t, dir))
	}
	if err := l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

// A socket whose master was killed is replaced; a file is not.
func TestStale(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cm")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	_, err = Dial(t.Context(), path)
	if want := "Control socket connect(" + path + "): Connection refused"; err == nil || err.Error() != want {
		t.Errorf("a dead master: got %v, want %s", err, want)
	}
	listenAt(t, path).Close()
	if got := names(t, dir); got != "" {
		t.Errorf("left over: %s", got)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || names(t, dir) != "cm" {
		t.Errorf("a file is in the way: got %v, and left %s", err, names(t, dir))
	}
}

func TestLongPath(t *testing.T) {
	long := "/" + strings.Repeat("x", maxPath-1)
	_, err := Dial(t.Context(), long)
	if _, ok := errors.AsType[*PathError](err); !ok || !strings.HasPrefix(err.Error(), "ControlPath too long ('"+long+"' >= ") {
		t.Errorf("got %v", err)
	}
	if _, err = Listen(long[:maxPath-10]); err == nil || !strings.Contains(err.Error(), "17 bytes longer") {
		t.Errorf("a path whose temporary name is too long: got %v", err)
	}
	if _, err = Listen("/nowhere/at/all"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that there is not: got %v", err)
	}
}

// Dial's ctx ends a master that says nothing.
func TestSilentMaster(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	path, ended := testnet.ServeUnix(t, func(nc net.Conn) {
		nc.Read(make([]byte, 12)) // it has greeted
		cancel(why)
		nc.Read(make([]byte, 12))
	})
	if _, err := Dial(ctx, path); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	ended() // hangs when the connection was left open
}

// A master is idle when it has had neither clients nor channels for the time.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var channels atomic.Int32
		m := &Master{clients: map[*client]struct{}{}, used: time.Now(), channels: func() int { return int(channels.Load()) }}
		start := time.Now()
		over := make(chan bool, 1)
		go func() { over <- m.Idle(t.Context(), 10*time.Second) }()
		c := &client{}
		<-time.After(5 * time.Second)
		m.enter(c)
		<-time.After(20 * time.Second)
		m.leave(c) // at 25 s
		<-time.After(5 * time.Second)
		channels.Store(1) // 30 s
		<-time.After(30 * time.Second)
		channels.Store(0) // 60 s
		if !<-over {
			t.Error("not idle")
		}
		if took := time.Since(start); took < 69*time.Second || took > 71*time.Second {
			t.Errorf("idle after %v, want 70 s: ten after the last channel", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if m.Idle(ctx, time.Hour) {
			t.Error("idle although its ctx has ended")
		}
	})
}
