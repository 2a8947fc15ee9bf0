package adit_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
)

// ConnectTimeout does not run while a person looks at the host key, nor while
// one types a password (OpenSSH, sshconnect.c and ssh_config(5): it bounds the
// connecting, the handshake and the key exchange).
func TestConnectTimeoutWaitsForPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newSigner(t)
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
