package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/setup"
)

// checkForwards looks at each forward's local port and at its target. Nothing is
// forwarded.
func (e *exam) checkForwards(ctx context.Context) {
	listening := map[string]forward.Spec{} // by what they listen on, here or at the server
	for _, s := range setup.Forwards(e.conf) {
		on := fmt.Sprint(s.Remote, s.Bind, s.Port, s.ListenPath)
		first, twice := listening[on]
		listening[on] = s
		switch {
		case twice && (s.Port != 0 || s.ListenPath != ""):
			e.add(Check{Stage: StageForward, Subject: s.String(), Status: Failed, Text: "it listens where " + first.String() + " does",
				Meaning: "two forwards of one connection listen on the same port: the second one fails", Fix: "choose another port for one of them"})
		case s.Remote:
			e.skip(StageForward, "remote "+s.String(), "whether the server may listen is not asked: that would open the port there")
		default:
			e.checkPort(ctx, s)
		}
		if !s.Dynamic {
			e.checkTarget(ctx, s)
		}
	}
}

// checkPort tries to listen, and stops again.
func (e *exam) checkPort(ctx context.Context, s forward.Spec) {
	c := Check{Stage: StageForward, Subject: s.String(), Status: OK, Text: "the local port is free"}
	cfg := setup.ForwardConfig(e.conf)
	if s.ListenPath != "" {
		c.Text = "the unix socket can be made"
		if fi, err := os.Lstat(s.ListenPath); err == nil && fi.Mode()&os.ModeSocket != 0 && cfg.ReplaceSocket {
			c.Text = "the unix socket is there, and would be replaced (StreamLocalBindUnlink)"
			e.add(c)
			return
		}
		cfg.ReplaceSocket = false
	}
	began := time.Now()
	s.TargetPath = "" // is another check's
	f, err := forward.Listen(ctx, s, cfg)
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
	c.Status, c.Text = Failed, oneLine(cmp.Or(errors.Unwrap(err), err).Error()) // without the subject
	c.Meaning, c.Fix = "the local port can't be listened on", "choose another port"
	if s.ListenPath != "" {
		c.Meaning = "the unix socket can't be made"
		c.Fix = "remove what an earlier connection has left there, or set StreamLocalBindUnlink yes; its folder must be there and be yours"
	}
	if l, ok := errors.AsType[*forward.ListenError](err); ok {
		c.Text = oneLine(l.Error())
		if l.Holder != "" {
			c.Meaning = fmt.Sprintf("%s has the port already, perhaps as the same forward of an earlier connection", l.Holder)
			c.Fix = "end that program, or choose another port"
		}
	}
	e.add(c)
}

// checkTarget opens a connection to the target, from the server or for a remote
// forward from here, and closes it.
func (e *exam) checkTarget(ctx context.Context, s forward.Spec) {
	network, target, try := "tcp", net.JoinHostPort(s.Host, strconv.Itoa(int(s.HostPort))), fmt.Sprintf("nc -vz %s %d", s.Host, s.HostPort)
	if s.TargetPath != "" {
		network, target, try = "unix", s.TargetPath, "ls -l "+s.TargetPath
	}
	if e.client == nil && !s.Remote {
		e.skip(StageForward, "target "+target, "there is no connection")
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.limit, fmt.Errorf("no answer within %v", e.limit))
	defer cancel()
	c := Check{Stage: StageForward, Subject: "target " + target, Status: OK, Text: "answers"}
	began := time.Now()
	var nc net.Conn
	var err error
	switch {
	case !s.Remote:
		nc, err = e.client.DialContext(ctx, network, target)
	case network == "unix":
		nc, err = dial.Unix{Path: target}.Dial(ctx, target)
	default:
		nc, err = dial.TCP{Network: e.set.AddressFamily}.Dial(ctx, target)
	}
	c.Took = time.Since(began)
	if err == nil {
		nc.Close()
		e.add(c)
		return
	}
	c.Status, c.Text = Failed, oneLine(err.Error())
	if s.Remote {
		c.Meaning = "who connects to the server's port would be refused: nothing answers at the target, which is reached from here"
		c.Fix = "start what is to be reached there, or mend the forward's target; try it here: " + try
		e.add(c)
		return
	}
	c.Meaning = "the server can't reach the target; its name is looked up there"
	c.Fix = "try it on the server: " + try
	if o, ok := errors.AsType[*adit.OpenError](err); ok && o.Reason == 1 {
		c.Meaning = "the server does not allow connections to that target"
		c.Fix = "see AllowTcpForwarding and PermitOpen in its sshd_config, and permitopen or restrict in authorized_keys"
	}
	e.add(c)
}
