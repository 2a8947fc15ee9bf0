package authkeys

import (
	"errors"
	"slices"
	"time"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// Options says what a login with a key may do. The zero value permits nothing;
// Unrestricted is what a line without options stands for.
type Options struct {
	// Permissions.
	PortForwarding  bool
	AgentForwarding bool
	X11Forwarding   bool
	PTY             bool
	UserRC          bool

	// Forced says that Command runs in place of what the client asks for.
	Forced  bool
	Command string

	// PermitOpen and PermitListen narrow PortForwarding. Nil permits
	// everything, an empty list nothing. See PermitsOpen, PermitsListen.
	PermitOpen   []HostPort
	PermitListen []HostPort

	Environment []string // "NAME=value", at most one for each name
	Tunnel      string   // tun device asked for; empty for none
}

// Unrestricted returns the options of a key without options.
func Unrestricted() *Options {
	return &Options{PortForwarding: true, AgentForwarding: true, X11Forwarding: true, PTY: true, UserRC: true}
}

// HostPort is what one permitopen or permitlisten names.
type HostPort struct {
	Host string // "*" is any host
	Port uint16 // 0 is any port
}

// PermitsOpen reports whether a forward to host and port is permitted. Hosts
// are compared as they were written: no name is looked up.
func (o *Options) PermitsOpen(host string, port uint32) bool {
	return o.PortForwarding && permits(o.PermitOpen, port, func(h string) bool { return h == "*" || h == host })
}

// PermitsListen reports whether listening on host and port is permitted. Hosts
// in the list may have wildcards.
func (o *Options) PermitsListen(host string, port uint32) bool {
	return o.PortForwarding && permits(o.PermitListen, port, func(h string) bool { return wildcard.Match(h, host) })
}

func permits(list []HostPort, port uint32, host func(string) bool) bool {
	return list == nil || slices.ContainsFunc(list, func(p HostPort) bool {
		return (p.Port == 0 || uint32(p.Port) == port) && host(p.Host)
	})
}

var errTwoCommands = errors.New("two different forced commands")

// Merge returns what both a and b permit. Both stay as they are. It fails when
// they force different commands.
func Merge(a, b *Options) (*Options, error) {
	if a.Forced && b.Forced && a.Command != b.Command {
		return nil, errTwoCommands
	}
	m := &Options{
		PortForwarding:  a.PortForwarding && b.PortForwarding,
		AgentForwarding: a.AgentForwarding && b.AgentForwarding,
		X11Forwarding:   a.X11Forwarding && b.X11Forwarding,
		PTY:             a.PTY && b.PTY,
		UserRC:          a.UserRC && b.UserRC,
		Forced:          a.Forced || b.Forced,
		Command:         a.Command,
		PermitOpen:      intersect(a.PermitOpen, b.PermitOpen),
		PermitListen:    intersect(a.PermitListen, b.PermitListen),
		Environment:     slices.Clone(a.Environment),
		Tunnel:          a.Tunnel,
	}
	if !a.Forced {
		m.Command = b.Command
	}
	if m.Tunnel == "" {
		m.Tunnel = b.Tunnel
	}
	for _, kv := range b.Environment {
		m.addEnvironment(kv)
	}
	return m, nil
}

// intersect returns what both lists permit. Two different wildcard patterns
// count as disjoint, which errs on the strict side.
func intersect(a, b []HostPort) []HostPort {
	if a == nil {
		return slices.Clone(b)
	}
	if b == nil {
		return slices.Clone(a)
	}
	both := []HostPort{}
	for _, p := range a {
		for _, q := range b {
			if p.Host != q.Host && p.Host != "*" && q.Host != "*" ||
				p.Port != q.Port && p.Port != 0 && q.Port != 0 {
				continue
			}
			host := p.Host
			if host == "*" {
				host = q.Host
			}
			both = append(both, HostPort{Host: host, Port: max(p.Port, q.Port)})
		}
	}
	return both
}

// addEnvironment adds NAME=value unless NAME is set already: the first one
// wins, as in sshd.
func (o *Options) addEnvironment(kv string) {
	if !slices.ContainsFunc(o.Environment, func(have string) bool { return envName(have) == envName(kv) }) {
		o.Environment = append(o.Environment, kv)
	}
}

// entryConditions are the options that decide whether an entry serves at all.
type entryConditions struct {
	authority  bool      // cert-authority
	principals []string  // nil: the user's name
	from       []pattern // nil: from anywhere
	expires    time.Time // zero: never
}
