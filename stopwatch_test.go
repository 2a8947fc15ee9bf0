package adit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/transport"
)

// What was used of the time before a question is gone, and the rest runs on
// behind it.
func TestStopwatchRunsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, w := startWatch(t.Context(), 10*time.Second)
		defer w.end()
		<-time.After(4 * time.Second)
		resume := w.pause()
		<-time.After(time.Hour)
		if ctx.Err() != nil {
			t.Fatal("it ran while it stood still")
		}
		resume()
		<-ctx.Done()
		if took := time.Since(began); took != time.Hour+10*time.Second {
			t.Errorf("ended after %v, want 6 s after the question", took)
		}
	})
}

// A connection that is the way to another stops that one's watch too.
func TestStopwatchStopsOuter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		target, outer := startWatch(t.Context(), 10*time.Second)
		defer outer.end()
		jump, inner := startWatch(target, 0)
		<-time.After(4 * time.Second)
		resume := inner.pause()
		<-time.After(time.Hour)
		resume()
		inner.end() // the jump host's handshake is done: the target's time goes on
		if jump.Err() == nil || target.Err() != nil {
			t.Fatalf("jump host: %v, target: %v; want only the first to have ended", jump.Err(), target.Err())
		}
		<-time.After(time.Second)
		resume = inner.pause() // the login there
		<-time.After(time.Hour)
		resume()
		<-target.Done()
		if took := time.Since(began); took != 2*time.Hour+10*time.Second {
			t.Errorf("ended after %v, want 6 s of running besides both questions", took)
		}
	})
}

// The second connection to a server that has changed its mind has what the first
// has left of the time, and the time of questions on the way does not count.
func TestStopwatchOfTwoConnections(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var served sync.WaitGroup
		defer served.Wait()
		ways := 0
		cfg := &Config{
			User: "u", ConnectTimeout: 10 * time.Second, Expect: Preference{Kex: "curve25519-sha256"},
			CheckHostKey: func(string, string, gossh.PublicKey) error { return nil },
			Dial: func(ctx context.Context, _ string) (net.Conn, error) {
				ways++
				_, jump := startWatch(ctx, 0)
				resume := jump.pause() // somebody types a password there
				<-time.After(time.Hour)
				resume()
				jump.end()
				<-time.After(4 * time.Second)
				ours, theirs := net.Pipe()
				mute := ways == 2
				served.Go(func() {
					defer theirs.Close()
					if mute {
						io.Copy(io.Discard, theirs)
						return
					}
					transport.Server(ctx, theirs, &transport.Config{HostKeys: []gossh.Signer{signer}, Kex: []string{"ecdh-sha2-nistp256"},
						Version: "SSH-2.0-OpenSSH_9.2"})
				})
				return ours, nil
			},
		}
		began := time.Now()
		_, err := Dial(t.Context(), "h", cfg)
		took := time.Since(began).Round(time.Second)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "10s") || ways != 2 || took != 2*time.Hour+10*time.Second {
			t.Errorf("%v after %v and %d connections; want the end of 10 s, besides two questions, and two connections", err, took, ways)
		}
	})
}
