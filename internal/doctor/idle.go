package doctor

import (
	"context"
	"fmt"
)

// checkIdle asks the server what keepalive asks.
func (e *exam) checkIdle(ctx context.Context) {
	if e.client == nil {
		e.skip(StageIdle, "", "there is no connection")
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.limit, fmt.Errorf("no answer within %v", e.limit))
	defer cancel()
	rtt, err := e.client.Ping(ctx)
	c := Check{Stage: StageIdle, Status: OK, Took: rtt, Text: "the server answers keepalive requests"}
	if err != nil {
		c.Status, c.Text = Failed, oneLine(err.Error())
		c.Meaning = "the server does not answer keepalive requests: with ServerAliveInterval the connection would be ended"
		c.Fix = "set ServerAliveInterval 0 for this host; TCPKeepAlive stays"
	} else if e.conf.ServerAliveInterval == 0 {
		c.Details = []string{"ServerAliveInterval is not set: a link that dies is not noticed, and a firewall may forget an idle one"}
	}
	e.add(c)
}
