package ssm

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/adit-ssh/adit/internal/testnet"
)

// inMemory opens a socket to a gateway that deals with its end by handle.
func inMemory(t *testing.T, blocked func() bool, handle func(ctx context.Context, c *websocket.Conn)) *socket {
	l := testnet.Listen(testnet.Options{})
	lifetime, stop := context.WithCancel(context.Background())
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		c.Read(lifetime) // the text message
		handle(lifetime, c)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(l)
	}()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) }
	transport := &http.Transport{DialContext: dialBatching(dial)}
	s := &Service{config: Config{EndpointMessages: "ws://127.0.0.1"}, http: &http.Client{Transport: transport}}
	k, err := s.openSocket(t.Context(), "wss://x/v1", "token", "client", blocked)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close()
		stop()
		server.Close()
		l.Close()
		transport.CloseIdleConnections()
		<-served
	})
	return k
}

// A gateway that has gone without a word is found out: in 75 s, and in 20 s when
// something was sent, as after the machine has slept. One that answers is left
// alone, and so is one that we do not listen to.
func TestSilentGateway(t *testing.T) {
	silent := func(ctx context.Context, _ *websocket.Conn) { <-ctx.Done() }
	answers := func(ctx context.Context, c *websocket.Conn) {
		for {
			if _, _, err := c.Read(ctx); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name    string
		handle  func(context.Context, *websocket.Conn)
		writes  bool
		blocked bool
		dies    time.Duration // 0 is never
	}{
		{"idle", silent, false, false, deadAfter},
		{"asked", silent, true, false, deadUnanswered},
		{"not listened to", silent, true, true, 0},
		{"answers", answers, false, false, 0},
		{"answers pings only", answers, true, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := inMemory(t, func() bool { return c.blocked }, c.handle)
				began := time.Now()
				if c.writes {
					k.WriteMessage([]byte("x"))
					if err := k.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				ended := make(chan time.Duration, 1)
				go func() {
					k.ReadMessage()
					ended <- time.Since(began)
				}()
				select {
				case took := <-ended:
					if c.dies == 0 || took < c.dies || took > c.dies+lookEvery {
						t.Errorf("given up after %v, want %v", took, c.dies)
					}
				case <-time.After(20 * time.Minute):
					if c.dies > 0 {
						t.Errorf("not given up, want that after %v", c.dies)
					}
				}
				k.Close()
			})
		})
	}
}
