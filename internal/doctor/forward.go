package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/setup"
)

// checkForwards looks at each forward's local port and at its target. Nothing is
// forwarded.
func (e *exam) checkForwards(ctx context.Context) {
	for _, f := range e.conf.RemoteForwards {
		e.skip(StageForward, "RemoteForward at "+f.Origin.String(), "only a connection that stays can tell")
	}
	for _, s := range setup.Forwards(e.conf) {
		e.checkPort(ctx, s)
		if !s.Dynamic {
			e.checkTarget(ctx, s)
		}
	}
}

// checkPort tries to listen, and stops again.
func (e *exam) checkPort(ctx context.Context, s forward.Spec) {
	c := Check{Stage: StageForward, Subject: s.String(), Status: OK, Text: "the local port is free"}
	if s.ListenPath != "" {
		e.skip(StageForward, s.String(), "it listens on a unix socket, which is not there yet")
		return
	}
	began := time.Now()
	f, err := forward.Listen(ctx, s, forward.Config{GatewayPorts: e.conf.GatewayPorts, Network: e.set.AddressFamily})
	c.Took = time.Since(began)
	if err == nil {
		if skipped := f.Skipped(); len(skipped) > 0 {
			c.Status, c.Text = Warning, "only some addresses of the local port are free"
			c.Meaning, c.Fix = oneLine(errors.Join(skipped...).Error()), "programs that connect to the other one reach something else; choose another port"
		}
		f.Close()
		e.add(c)
		return
	}
	c.Status, c.Text = Failed, oneLine(err.Error())
	c.Meaning = "the local port can't be listened on"
	c.Fix = "choose another port"
	if l, ok := errors.AsType[*forward.ListenError](err); ok {
		c.Text = oneLine(l.Error())
		if l.Holder != "" {
			c.Meaning = fmt.Sprintf("%s has the port already, perhaps as the same forward of an earlier connection", l.Holder)
			c.Fix = "end that program, or choose another port"
		}
	}
	e.add(c)
}

// checkTarget opens a channel to the target, and closes it.
func (e *exam) checkTarget(ctx context.Context, s forward.Spec) {
	target := net.JoinHostPort(s.Host, strconv.Itoa(int(s.HostPort)))
	if s.TargetPath != "" {
		target = s.TargetPath
	}
	if e.client == nil {
		e.skip(StageForward, "target "+target, "there is no connection")
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.limit, fmt.Errorf("no answer within %v", e.limit))
	defer cancel()
	c := Check{Stage: StageForward, Subject: "target " + target, Status: OK, Text: "answers"}
	began := time.Now()
	var nc net.Conn
	var err error
	if s.TargetPath != "" {
		nc, err = e.client.DialContext(ctx, "unix", s.TargetPath)
	} else {
		nc, err = e.client.OpenDirect(ctx, s.Host, s.HostPort, netip.AddrPort{})
	}
	c.Took = time.Since(began)
	if err == nil {
		nc.Close()
		e.add(c)
		return
	}
	c.Status, c.Text = Failed, oneLine(err.Error())
	c.Meaning = "the server can't reach the target; its name is looked up there"
	c.Fix = "try it on the server: nc -vz " + s.Host + " " + strconv.Itoa(int(s.HostPort))
	if o, ok := errors.AsType[*adit.OpenError](err); ok && o.Reason == 1 {
		c.Meaning = "the server does not allow connections to that target"
		c.Fix = "see AllowTcpForwarding and PermitOpen in its sshd_config, and permitopen or restrict in authorized_keys"
	}
	e.add(c)
}
