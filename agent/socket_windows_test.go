package agent

import (
	"strings"
	"sync"
	"testing"

	"github.com/adit-ssh/adit/internal/testnet"
)

// A named pipe is dialled as such, however its slashes lean, and as ssh_config(5) has it.
func TestSocketPipe(t *testing.T) {
	path := testnet.LocalPath(t)
	l, err := testnet.ListenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	r := ringWith(t, AddedKey{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for range 3 {
			nc, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			windowsAgent(r)(nc)
			nc.Close()
		}
	})
	for _, name := range []string{path, strings.ReplaceAll(path, `\`, "/"), path[1:]} {
		conn, bound, err := Socket(name).Open(t.Context(), &Binding{Session: session(t, testKeys.hosts[0], "id")})
		if err != nil || !bound {
			t.Fatalf("%s: bound %v, %v", name, bound, err)
		}
		c := NewClient(conn)
		if ids, err := c.List(t.Context()); err != nil || len(ids) != 1 {
			t.Errorf("%s: %v, %v", name, ids, err)
		}
		c.Close()
	}
	l.Close()
	serving.Wait()
	for _, name := range []string{`C:\agent`, `\.\pip\x`, `.\pipe\x`, `\\\.\pipe\x`, ""} {
		if IsPipe(name) {
			t.Errorf("%q counts as a pipe", name)
		}
	}
}
