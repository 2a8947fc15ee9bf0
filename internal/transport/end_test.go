package transport

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-ssh/adit/internal/testnet"
)

// lingering is a connection whose Close takes a second, as one to AWS may.
type lingering struct {
	net.Conn
	closed bool // read when Close has returned
}

func (c *lingering) Close() error {
	err := c.Conn.Close()
	<-time.After(time.Second)
	c.closed = true
	return err
}

// Whoever ends the connection, who waits for its end waits for the way's end, too.
func TestEndWaitsForTheWay(t *testing.T) {
	errEnough := errors.New("enough")
	for name, end := range map[string]func(t *testing.T, nc net.Conn){
		"a handshake that is interrupted": func(t *testing.T, nc net.Conn) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Millisecond, func() { cancel(errEnough) })
			if _, err := Client(ctx, nc, &Config{CheckHostKey: accept}); !errors.Is(err, errEnough) {
				t.Errorf("%v, want %v", err, errEnough)
			}
		},
		"a connection that is lost": func(t *testing.T, nc net.Conn) {
			c := newConn(nc, &Config{}, false)
			go c.Lost(errEnough)
			<-c.done
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := testnet.Pipe(testnet.Options{})
				defer b.Close()
				nc := &lingering{Conn: a}
				end(t, nc)
				if !nc.closed {
					t.Error("the way to the peer was not at its end yet")
				}
			})
		})
	}
}
