package ssm

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// reads counts reads of a connection.
type reads struct {
	net.Conn
	n int
}

func (r *reads) Read(p []byte) (int, error) {
	r.n++
	return r.Conn.Read(p)
}

// Amid a steady flow messages gather, a few milliseconds each; a lone one is there
// at once, before and after.
func TestGather(t *testing.T) {
	for _, c := range []struct {
		name  string
		every time.Duration
		size  int
		waits bool
	}{
		{"AWS's agent", 1100 * time.Microsecond, 1150, true},
		{"a person types", 50 * time.Millisecond, 150, false},
		{"fast", time.Millisecond, 64 << 10, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := testnet.Pipe(testnet.Options{})
				defer near.Close()
				counted := &reads{Conn: near}
				conn, err := dialBatching(func(context.Context, string, string) (net.Conn, error) { return counted, nil })(t.Context(), "tcp", "x")
				if err != nil {
					t.Fatal(err)
				}
				const messages = 500
				go func() {
					defer far.Close()
					for i := range messages {
						<-time.After(c.every)
						m := make([]byte, c.size)
						m[0] = byte(i)
						if _, err := far.Write(m); err != nil {
							t.Error(err)
						}
					}
					<-time.After(time.Second)
					far.Write([]byte("lone"))
				}()
				began := time.Now()
				if _, err := io.ReadFull(conn, make([]byte, messages*c.size)); err != nil {
					t.Fatal(err)
				}
				took := time.Since(began)
				if late := took - messages*c.every; late > gatherFor && c.waits || late > 0 && !c.waits {
					t.Errorf("the flow was over %v late", late)
				}
				if c.waits && counted.n > messages/2 {
					t.Errorf("%d reads for %d messages, want a few messages in each", counted.n, messages)
				}
				if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
					t.Fatal(err)
				}
				if late := time.Since(began) - messages*c.every - time.Second; late != 0 {
					t.Errorf("a lone message came %v late", late)
				}
			})
		})
	}
}
