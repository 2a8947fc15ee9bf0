package agent

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// serialAgent returns a Dialer of a ring that serves one connection at a time, whose
// owner thinks for a while before each signature. stop ends it.
func serialAgent(r *Keyring, thinks time.Duration) (d *Dialer, stop func()) {
	waiting, end := make(chan net.Conn, 100), make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			select {
			case nc := <-waiting:
				c := r.NewConnection()
				answers(func(request []byte) []byte {
					if request[0] == numSignRequest {
						<-time.After(thinks)
					}
					return c.Answer(context.Background(), request)
				})(nc)
				nc.Close()
			case <-end:
				return
			}
		}
	})
	d = &Dialer{Dial: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		waiting <- theirs
		return ours, nil
	}}
	return d, func() { close(end); serving.Wait() }
}

// Six logins at once before an agent that serves one connection at a time, and whose
// owner takes four seconds for each: the agent is silent for longer than a mute one is
// given, and all are served in the end. So they are through a Proxy.
func TestTurns(t *testing.T) {
	here := session(t, testKeys.hosts[0], "to the server")
	for name, serve := range map[string]func(t *testing.T, d *Dialer) (login func(i int) error){
		"Forwarder": func(t *testing.T, d *Dialer) func(int) error {
			f := &Forwarder{Dialer: d}
			return func(i int) error {
				o, wait := opened(t.Context(), f, here)
				remoteSSH(t, o, session(t, testKeys.hosts[1], "login "+string(rune('0'+i))))
				wait() // pipes complain, since they have no half-close
				return nil
			}
		},
		"Proxy": func(t *testing.T, d *Dialer) func(int) error {
			p := &Proxy{Upstreams: []*Dialer{d}}
			return func(int) error {
				reply := p.connect(nil).Answer(t.Context(), signing(testKeys.user.PublicKey(), "data", 0))
				if reply[0] != numSignature {
					return errors.New("it is refused")
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, stop := serialAgent(ringWith(t, AddedKey{}), 4*time.Second)
				login := serve(t, d)
				begin := time.Now()
				var logins sync.WaitGroup
				for i := range 6 {
					logins.Go(func() {
						if err := login(i); err != nil {
							t.Errorf("login %d: %v", i, err)
						}
					})
				}
				logins.Wait()
				if took := time.Since(begin); took < 24*time.Second || took > turnLimit {
					t.Errorf("they took %v, want six times 4 s, one after the other", took)
				}
				stop()
			})
		})
	}
}

// Who keeps a connection to such an agent for good costs the next channel its patience,
// and not more; without anybody in front there is no patience.
func TestTurnNeverComes(t *testing.T) {
	here := session(t, testKeys.hosts[0], "to the server")
	synctest.Test(t, func(t *testing.T) {
		d, stop := serialAgent(ringWith(t, AddedKey{}), 0)
		f := &Forwarder{Dialer: d}
		first, waitFirst := opened(t.Context(), f, here)
		<-first.accepted
		begin := time.Now()
		o, wait := opened(t.Context(), f, here)
		if err := wait(); !errors.Is(err, errMute) || o.reason != wire.OpenConnectFailed || time.Since(begin) != turnLimit {
			t.Errorf("behind one that stays: %v, reason %d after %v, want %v", err, o.reason, time.Since(begin), turnLimit)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		over := errors.New("the session is over")
		time.AfterFunc(7*time.Second, func() { cancel(over) })
		if _, wait = opened(ctx, f, here); !errors.Is(wait(), over) {
			t.Error("the session's end does not end the waiting")
		}
		first.there.Close()
		waitFirst()
		begin = time.Now()
		o, wait = opened(t.Context(), f, here)
		<-o.accepted
		if took := time.Since(begin); took != 0 {
			t.Errorf("after that one has gone it takes %v", took)
		}
		o.there.Close()
		wait()
		if d.turns.using != 0 {
			t.Errorf("%d connections count as used, want none", d.turns.using)
		}
		stop()
	})
}
