package adit_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	ways "github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/testpeer"
)

// ConnectTimeout does not run while a person looks at the host key, nor while
// one types a password (OpenSSH, sshconnect.c and ssh_config(5): it bounds the
// connecting, the handshake and the key exchange).
func TestConnectTimeoutWaitsForPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := testpeer.NewSigner(t)
		sc := &gossh.ServerConfig{PasswordCallback: func(_ gossh.ConnMetadata, got []byte) (*gossh.Permissions, error) {
			if string(got) != "secret" {
				return nil, errors.New("denied")
			}
			return nil, nil
		}}
		sc.AddHostKey(host)
		ours, theirs := net.Pipe()
		served := make(chan struct{})
		go func() { // ends with the connection
			defer close(served)
			if c, channels, requests, err := gossh.NewServerConn(theirs, sc); err == nil {
				go gossh.DiscardRequests(requests)
				for ch := range channels {
					ch.Reject(gossh.Prohibited, "")
				}
				c.Close()
			}
		}()
		began := time.Now()
		c, err := adit.Dial(t.Context(), "u@somewhere", &adit.Config{
			ConnectTimeout: 10 * time.Second,
			Dial: func(context.Context, string) (net.Conn, error) {
				<-time.After(9 * time.Second)
				return ours, nil
			},
			CheckHostKey: func(string, string, gossh.PublicKey) error {
				<-time.After(time.Hour)
				return nil
			},
			Password: func(context.Context) (string, error) {
				<-time.After(time.Hour)
				return "secret", nil
			},
		})
		if err != nil {
			t.Fatalf("after %v: %v; want to be let in, however long a person takes", time.Since(began), err)
		}
		if took := time.Since(began); took != 2*time.Hour+9*time.Second {
			t.Errorf("took %v; the callbacks were not waited for", took)
		}
		c.Close()
		<-served
	})
}

// A target's ConnectTimeout stands still while a jump host asks: for its host key,
// and in its login.
func TestConnectTimeoutWaitsAtJumpHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := testpeer.NewSigner(t)
		sc := &gossh.ServerConfig{PasswordCallback: func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) { return nil, nil }}
		sc.AddHostKey(host)
		serve := func(c net.Conn) func() {
			served := make(chan struct{})
			go func() { // ends with the connection
				defer close(served)
				if c, channels, requests, err := gossh.NewServerConn(c, sc); err == nil {
					go gossh.DiscardRequests(requests)
					for ch := range channels {
						ch.Reject(gossh.Prohibited, "no way")
					}
					c.Close()
				}
			}()
			return func() { <-served }
		}
		ask := func() { <-time.After(time.Hour) }
		ours, theirs := net.Pipe()
		defer serve(theirs)()
		jump := ways.Jump{Name: "jump", Connect: func(ctx context.Context, _ string) (ways.Through, error) {
			c, err := adit.Dial(ctx, "u@jump", &adit.Config{
				Dial:         func(context.Context, string) (net.Conn, error) { return ours, nil },
				CheckHostKey: func(string, string, gossh.PublicKey) error { ask(); return nil },
				Password:     func(context.Context) (string, error) { ask(); return "secret", nil },
			})
			if err != nil {
				return nil, err
			}
			return c, nil
		}}
		_, err := adit.Dial(t.Context(), "u@target:22", &adit.Config{ConnectTimeout: 10 * time.Second, Dial: jump.Dial, CheckHostKey: adit.FixedHostKey(host.PublicKey())})
		if _, refused := errors.AsType[*adit.OpenError](err); !refused {
			t.Errorf("got %v, want the jump host's refusal, two hours later", err)
		}
	})
}

// A proxy command that carries nothing is a dial that failed: that is all there is
// to say. What it wrote in place of a version line is told with it.
func TestDeadProxyCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no sh")
	}
	for line, want := range map[string]string{
		"false":                                  "dial db:22: proxy command false: it exited with status 1",
		"sh -c 'echo no route >&2; exit 3'":      `dial db:22: proxy command sh: it exited with status 3; it said "no route"`,
		"sh -c 'echo Welcome; echo gone >&2'":    `handshake db:22: version line: the peer closed the connection before its version line; it sent "Welcome"`,
		"sh -c 'echo Welcome; echo x>&2; false'": `handshake db:22: version line: the peer closed the connection before its version line; it sent "Welcome": proxy command sh: it exited with status 1; it said "x"`,
	} {
		_, err := adit.Dial(t.Context(), "u@db", &adit.Config{CheckHostKey: adit.FixedHostKey(testpeer.NewSigner(t).PublicKey()),
			Dial: ways.Command{Line: line, Shell: "/bin/sh"}.Dial})
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", line, err, want)
		}
	}
}
