package adit_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// TestSSH runs a session of x/crypto's client over our connection, against
// x/crypto's server.
func TestSSH(t *testing.T) {
	census(t)
	host, user := testpeer.NewSigner(t), testpeer.NewSigner(t)
	scfg := &gossh.ServerConfig{PublicKeyCallback: func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) { return nil, nil }}
	scfg.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		_, chans, reqs, err := gossh.NewServerConn(nc, scfg)
		if err != nil {
			t.Error(err)
			return
		}
		wg.Go(func() { gossh.DiscardRequests(reqs) })
		for nch := range chans {
			ch, reqs, err := nch.Accept()
			if err != nil {
				continue
			}
			for r := range reqs {
				r.Reply(r.Type == "exec", nil)
				if r.Type != "exec" {
					continue
				}
				in, _ := io.ReadAll(ch)
				ch.Write(in)
				io.WriteString(ch.Stderr(), "complaint")
				ch.SendRequest("exit-status", false, gossh.Marshal(struct{ S uint32 }{7}))
				ch.Close()
			}
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	c, err := adit.Dial(t.Context(), l.Addr().String(), &adit.Config{User: "u", CheckHostKey: adit.FixedHostKey(host.PublicKey()), Keys: adit.Keys(user)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := c.SSH().NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, stderr writer
	s.Stdout, s.Stderr = &out, &stderr
	if err := s.Start("x"); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "words")
	in.Close()
	exit, ok := s.Wait().(*gossh.ExitError)
	if !ok || exit.ExitStatus() != 7 || out.String() != "words" || stderr.String() != "complaint" {
		t.Errorf("got %v, %q, %q", exit, out.String(), stderr.String())
	}
	if _, _, err := c.SendRequest(context.Background(), "nothing@example.com", true, nil); err != nil {
		t.Error(err)
	}
}

// writer is a strings.Builder for two goroutines.
type writer struct {
	mu sync.Mutex
	b  []byte
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p...)
	return len(p), nil
}

func (w *writer) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.b)
}
