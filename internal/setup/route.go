package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/sshconfig"
)

// Route is the way to the server. The zero value is TCP.
type Route struct {
	// BindInterface is the interface to connect from; BindAddress goes before it.
	BindInterface string
	// Attempts is how often all addresses are tried; 0 is once.
	Attempts int
	// Command is run and carries the connection (ProxyCommand), or with Fdpass
	// hands it over; "-" is standard input and output. Tokens are expanded.
	Command string
	Fdpass  bool
	// Jump is the value of ProxyJump, "" for none. At most one of it and Command
	// is set.
	Jump string
	// QoS are the types of service for what a person waits for at a terminal, and
	// for all else; 0 and less leave it to the system (IPQoS).
	QoS [2]int
	// Interactive says that the connection is for a terminal. -N, -W and commands
	// without one are not, and so are connections to jump hosts (OpenSSH, ssh.c,
	// ssh_session2_setup).
	Interactive bool
	// File is where jump hosts find their configuration (-F); "" is the usual.
	File string
	// Stderr receives what commands write to standard error; nil drops it.
	Stderr io.Writer
	// Own makes what dials for a command line that is this program's own; see
	// ownWords. Nil, or a nil result, lets the command be run.
	Own func(words []string) func(context.Context) (net.Conn, error)

	// Shared returns a jump host by a connection that another program shares, as
	// the host's configuration says (ControlPath), or nil where there is none. Nil:
	// nobody shares any.
	Shared func(ctx context.Context, c *sshconfig.Config) (dial.Through, error)

	name string // of Command, with the place that has it
	via  []hop  // that we are a jump host of, from the first to us
}

// hop is what a jump host's configuration depends on.
type hop struct {
	target sshconfig.Target
	before string
}

// maxHops is how many jump hosts there may be, those of jump hosts included.
const maxHops = 16

// apply takes over what a configuration says.
func (r *Route) apply(c *sshconfig.Config) error {
	r.BindInterface, r.Attempts = c.BindInterface, c.ConnectionAttempts
	r.Jump, r.Fdpass = c.ProxyJump, c.ProxyUseFdpass
	r.QoS = [2]int{sshconfig.ServiceClass(c.IPQoS[0]), sshconfig.ServiceClass(c.IPQoS[1])}
	if r.Command = c.ProxyCommand; r.Command == "" || r.Command == "-" {
		return nil
	}
	var err error
	from := c.Origin("ProxyCommand")
	if r.Command, err = c.ExpandProxyCommand(); err != nil {
		return fmt.Errorf("%s: ProxyCommand: %w", from, err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(r.Command), " ")
	r.name = fmt.Sprintf("%s (%s)", printable(first), from)
	return nil
}

// dialer returns what connects to the server.
func (o *Options) dialer() func(context.Context, string) (net.Conn, error) {
	r := &o.Route
	command := dial.Command{Line: r.Command, Name: r.name, Stderr: r.Stderr}
	own := r.own()
	switch {
	case own != nil:
		return own
	case r.Jump != "":
		return o.Jump
	case r.Command == "-":
		return dial.Stdio{}.Dial
	case r.Command != "" && r.Fdpass:
		return dial.Fdpass(command).Dial
	case r.Command != "":
		return command.Dial
	}
	tos := r.QoS[1]
	if r.Interactive {
		tos = r.QoS[0]
	}
	direct := dial.TCP{Network: o.AddressFamily, BindAddress: o.BindAddress, BindInterface: r.BindInterface,
		Attempts: r.Attempts, NoKeepAlive: o.NoTCPKeepAlive, TOS: max(0, tos)}.Dial
	if o.Proxy != nil {
		return o.proxied(direct)
	}
	return direct
}

// Direct reports whether we connect to the server's own address, so that it says
// something about the server (CheckHostIP, NoHostAuthenticationForLocalhost).
func (o *Options) Direct() bool {
	return o.Route.Jump == "" && o.Route.Command == "" && o.Proxy == nil
}

// Jump connects to host:port through the last of the jump hosts, Route.Jump. That
// is reached as a program of its own would reach it, which is what OpenSSH starts
// (ssh.c: ssh -W with -l, -p, -J, -F and -v): its own configuration holds, and of
// our options only who is asked and told, Route.File and Route.Stderr.
func (o *Options) Jump(ctx context.Context, address string) (net.Conn, error) {
	target, before, err := sshconfig.LastHop(o.Route.Jump)
	if err != nil {
		return nil, fmt.Errorf("ProxyJump %s: %w", o.Route.Jump, err)
	}
	return dial.Jump{Name: target.Host, Connect: func(ctx context.Context, ahead string) (dial.Through, error) {
		return o.hop(ctx, hop{target, before}, ahead)
	}}.Dial(ctx, address)
}

// hop logs in at a jump host, or finds that somebody has.
func (o *Options) hop(ctx context.Context, h hop, ahead string) (dial.Through, error) {
	via := o.Route.via
	if err := mayFollow(via, h); err != nil {
		return nil, err
	}
	in := sshconfig.Options{Host: h.target.Host, RemoteUser: h.target.User, File: o.Route.File, Stdio: true}
	if h.target.Port != 0 {
		in.CommandLine = append(in.CommandLine, "Port="+strconv.Itoa(h.target.Port))
	}
	if h.before != "" {
		in.CommandLine = append(in.CommandLine, "ProxyJump="+h.before)
	}
	c, err := LoadConfig(ctx, in)
	if err != nil {
		return nil, err
	}
	next := &Options{LookOnly: o.LookOnly, Prompter: o.Prompter, Notice: o.Notice, Say: o.Say, Tracer: o.Tracer, KeyLog: o.KeyLog}
	next.Lifetime = o.Lifetime
	next.Route = Route{File: o.Route.File, Stderr: o.Route.Stderr, Own: o.Route.Own, Shared: o.Route.Shared, via: append(via[:len(via):len(via)], h)}
	if err := next.Apply(c); err != nil {
		return nil, err
	}
	if o.Route.Shared != nil {
		if through, err := o.Route.Shared(ctx, c); through != nil || err != nil {
			return through, err
		}
	}
	if next.Route.Command == "-" {
		return nil, errors.New("ProxyCommand -: standard input and output are no way to a jump host")
	}
	cfg, err := next.Config()
	if err != nil {
		return nil, err
	}
	cfg.Ahead = ahead
	client, err := next.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return client, nil
}

// mayFollow refuses hosts that are reached through themselves: with the same files
// the same jump host would lead there again.
func mayFollow(via []hop, h hop) error {
	for i, v := range via {
		if v == h {
			names := []string{}
			for _, v := range via[i:] {
				names = append(names, v.target.Host)
			}
			return fmt.Errorf("the jump hosts go in a circle: %s, and %s again", strings.Join(names, ", then "), h.target.Host)
		}
	}
	if len(via) >= maxHops {
		return fmt.Errorf("there are more than %d jump hosts", maxHops)
	}
	return nil
}

// Dial connects and logs in with a configuration that Config made, and remembers
// what the server prefers.
func (o *Options) Dial(ctx context.Context, cfg *adit.Config) (*adit.Client, error) {
	target, err := o.Target()
	if err != nil {
		return nil, err
	}
	c, err := adit.Dial(ctx, target, cfg)
	if err != nil {
		if e, ok := errors.AsType[*adit.StageError](err); ok && e.Stage == "handshake" {
			o.Forget(err)
		}
		return nil, err
	}
	o.Remember(c)
	return c, nil
}
