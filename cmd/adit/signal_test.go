//go:build unix

package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/testpeer"
)

// What `adit demo --keep` prints works, until Ctrl-C.
func TestDemoKeeps(t *testing.T) {
	t.Parallel()
	c := sit(t, t.TempDir(), "demo", "--keep")
	page := c.see(`Still running\. Try, in another terminal:\r\n  curl (http://\S+/hello)\r\n`)[1]
	c.see(`Ctrl-C ends it\.\r\n$`)
	resp, err := http.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := "A private page, /hello"; err != nil || string(body) != want {
		t.Errorf("%s: got %q, %v, want %q", page, body, err, want)
	}
	http.DefaultClient.CloseIdleConnections()
	c.press(ctrlC)
	c.leaves(0)
}

// An interrupt ends adit without a word, however far the connection is.
func TestInterruptWhileConnecting(t *testing.T) {
	t.Parallel()
	key := testpeer.NewKey(t, "ed25519")
	for _, tt := range []struct {
		name  string
		serve func(*testing.T, net.Conn) // returns when it is time
	}{
		{"no version line", func(*testing.T, net.Conn) {}},
		{"no key exchange", func(_ *testing.T, nc net.Conn) {
			nc.Write([]byte("SSH-2.0-silent\r\n"))
			nc.Read(make([]byte, 1)) // it has begun
		}},
		{"no login", func(t *testing.T, nc net.Conn) {
			config := &gossh.ServerConfig{}
			asked, over := make(chan struct{}), make(chan struct{})
			config.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) {
				close(asked)
				<-over
				return nil, errors.New("denied")
			}
			config.AddHostKey(key.Signer)
			var serving sync.WaitGroup
			serving.Go(func() { gossh.NewServerConn(nc, config) })
			t.Cleanup(func() {
				close(over)
				serving.Wait()
			})
			<-asked
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			known := filepath.Join(t.TempDir(), "known_hosts")
			cmd := exec.Command("adit", "ssh", "-q", "-N", "-p", portOf(l.Addr()), "-i", key.Path, "-o", "UserKnownHostsFile="+known,
				"-o", "StrictHostKeyChecking=accept-new", "127.0.0.1")
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "SSH_AUTH_SOCK=")
			var out output
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			hung := time.AfterFunc(patience, func() { cmd.Process.Kill() })
			defer hung.Stop()
			nc, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			tt.serve(t, nc)
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if status, err := exitStatusOf(cmd.Wait()); err != nil || status != 255 || len(out.text) > 0 {
				t.Errorf("exit status %d, %v, want 255 without a word:\n%s", status, err, out.text)
			}
		})
	}
}
