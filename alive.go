package adit

import (
	"context"
	"net"
	"time"

	"github.com/adit-ssh/adit/internal/wire"
)

// defaultAliveCount is OpenSSH's ServerAliveCountMax.
const defaultAliveCount = 3

// TimeoutError says that a server which was connected is not there any more:
// nothing came from it for so long that Config.AliveInterval and AliveCountMax
// ended the connection.
type TimeoutError struct {
	Host   string        // without the port
	Silent time.Duration // for how long nothing came
}

// Error has OpenSSH's words, for which scripts look.
func (e *TimeoutError) Error() string { return "Timeout, server " + e.Host + " not responding." }

// Timeout implements net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary implements net.Error.
func (e *TimeoutError) Temporary() bool { return false }

// keepAlive asks the server when nothing has come from it for an interval, and
// again after each further one; it ends the connection in place of one question
// more than AliveCountMax (OpenSSH: clientloop.c, server_alive_check). Whatever
// comes counts as an answer. The end does not depend on whether a question could
// be sent: on a dead link it may wait behind much else.
func (c *Client) keepAlive(address string) {
	interval, most := c.cfg.AliveInterval, c.cfg.AliveCountMax
	switch {
	case most == 0:
		most = defaultAliveCount
	case most < 0:
		most = 0
	}
	wake := time.NewTimer(interval)
	defer wake.Stop()
	asked := make(chan struct{}, 1) // full while a question waits for its answer
	for {
		select {
		case <-c.m.Done():
			return
		case <-wake.C:
		}
		silent := c.t.Silent()
		intervals := int(silent / interval)
		if intervals > most {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				host = address
			}
			c.t.Lost(&TimeoutError{host, silent})
			return
		}
		if intervals > 0 {
			select {
			case asked <- struct{}{}:
				c.wg.Go(func() { // ends with the answer or the connection
					c.m.Request(context.Background(), wire.GlobalKeepalive, true, nil)
					<-asked
				})
			default: // TCP repeats it for us
			}
		}
		wake.Reset(time.Duration(intervals+1)*interval - silent)
	}
}

// Ping asks the server whether it is there, as keepalive does, and returns the
// time to its answer. Any answer will do; sshd's is a refusal.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	_, _, err := c.m.Request(ctx, wire.GlobalKeepalive, true, nil)
	return time.Since(began), err
}
