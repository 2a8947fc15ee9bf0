package bastion

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/transport"
	"github.com/adit-ssh/adit/internal/wire"
)

// conn is one client, logged in.
type conn struct {
	s      *Server
	user   string
	remote net.Addr
	perm   *Permissions
	relays sync.WaitGroup
}

// open answers a CHANNEL_OPEN and, when it is accepted, has it forwarded until
// the channel's end.
func (c *conn) open(p *mux.Pending) {
	if p.Type() != wire.ChannelDirectTCPIP {
		text := "this server only forwards (direct-tcpip)"
		if p.Type() == wire.ChannelSession {
			text = "this server only forwards: no shell, no commands; connect with -N"
		}
		reason := uint32(wire.OpenUnknownChannelType)
		if p.Type() == wire.ChannelSession || p.Type() == wire.ChannelDirectStreamlocal {
			reason = wire.OpenAdministrativelyProhibited
		}
		c.s.log("%s: %s: refused a channel of type %s", c.remote, c.user, transport.Sanitize(p.Type(), 64))
		p.Reject(reason, text)
		return
	}
	var d wire.DirectTCPIP
	if err := wire.ParseBody(p.Data(), &d); err != nil || d.Port == 0 || d.Port > 65535 || d.Host == "" {
		p.Reject(wire.OpenConnectFailed, "malformed target")
		return
	}
	target := net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port)))
	shown := transport.Sanitize(target, 300)
	if !c.perm.Allows(d.Host, uint16(d.Port)) {
		c.s.log("%s: %s: may not reach %s", c.remote, c.user, shown)
		p.Reject(wire.OpenAdministrativelyProhibited, "open failed: not permitted")
		return
	}
	out, err := c.dial(p.Context(), target)
	if err != nil {
		c.s.log("%s: %s: %s: %v", c.remote, c.user, shown, err)
		reason, text := relay.OutcomeOf(err).OpenFailure()
		p.Reject(reason, text)
		return
	}
	ch, err := p.Accept(mux.Options{})
	if err != nil {
		out.Close()
		return
	}
	// On a goroutine whose stack has not grown with the dialling: most channels
	// idle most of the time.
	ctx := p.Context()
	c.relays.Go(func() {
		if res := relay.Pipe(ctx, out, ch, nil); res.Err != nil {
			c.s.log("%s: %s: %s: %v", c.remote, c.user, shown, res.Err)
		}
	})
}

func (c *conn) dial(ctx context.Context, target string) (relay.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.cfg.DialTimeout)
	defer cancel()
	dial := c.s.cfg.Dial
	if dial == nil {
		var d net.Dialer
		dial = d.DialContext
	}
	nc, err := dial(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	rc, ok := nc.(relay.Conn)
	if !ok {
		nc.Close()
		return nil, fmt.Errorf("connection of type %T has no CloseWrite", nc)
	}
	return rc, nil
}
