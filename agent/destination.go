package agent

import (
	"errors"
	"fmt"

	"github.com/adit-ssh/adit/internal/wire"
)

// Destination lets a key be used for logging in from one host to another
// (PROTOCOL.agent, section 2; ssh-add -h). A way over several hosts takes one for
// each hop.
type Destination struct {
	From Hop // the zero value is here, where the agent runs
	To   Hop
}

// Hop is an end of a Destination.
type Hop struct {
	// User is a pattern with * and ?, of at most 256 bytes; "" is anybody. Only To
	// may have one.
	User string
	// Hostname is what the host's certificates have to name; keys are compared
	// by themselves.
	Hostname string
	Keys     []HostKey
}

// HostKey is a host's key, or that of an authority that certifies hosts' keys.
type HostKey struct {
	Blob      []byte // in wire form
	Authority bool
}

// Limits of what an agent takes.
const (
	maxDestinations = 1024 // OpenSSH, ssh-agent.c, AGENT_MAX_DEST_CONSTRAINTS
	maxHopKeys      = 1024
	maxUserPattern  = 256 // since OpenSSH 10.4
)

func appendDestinations(b []byte, ds []Destination) []byte {
	for _, d := range ds {
		one := wire.AppendString(nil, d.From.append(nil))
		one = wire.AppendString(one, d.To.append(nil))
		one = wire.AppendString(one, "") // reserved
		b = wire.AppendString(b, one)
	}
	return b
}

func (h *Hop) append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(b, h.User), h.Hostname)
	b = wire.AppendString(b, "") // reserved
	for _, k := range h.Keys {
		b = wire.AppendBool(wire.AppendString(b, k.Blob), k.Authority)
	}
	return b
}

// parseDestinations reads a list. An empty one, which OpenSSH takes for a key
// without limits, is refused: who sends it wants a limit.
func parseDestinations(b []byte) ([]Destination, error) {
	p := wire.NewParser(b)
	var ds []Destination
	for p.Len() > 0 && p.Err() == nil {
		if len(ds) == maxDestinations {
			return nil, fmt.Errorf("more than %d destinations", maxDestinations)
		}
		d, err := parseDestination(p.Bytes())
		if err == nil {
			err = p.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("malformed destination: %w", err)
		}
		ds = append(ds, d)
	}
	if p.Err() == nil && len(ds) == 0 {
		return nil, errors.New("the list of destinations is empty")
	}
	return ds, p.Err()
}

func parseDestination(b []byte) (d Destination, err error) {
	p := wire.NewParser(b)
	from, to, reserved := p.Bytes(), p.Bytes(), p.Bytes()
	if err := p.Done(); err != nil {
		return d, err
	}
	if d.From, err = parseHop(from); err != nil {
		return d, err
	}
	if d.To, err = parseHop(to); err != nil {
		return d, err
	}
	switch {
	case len(reserved) > 0:
		err = errors.New("a part of it is not known here")
	case d.From.User != "":
		err = errors.New("a user at the host that one comes from")
	case (d.From.Hostname == "") != (len(d.From.Keys) == 0):
		err = errors.New("the host that one comes from has only one of name and keys")
	case d.To.Hostname == "" || len(d.To.Keys) == 0:
		err = errors.New("the host that one goes to lacks name or keys")
	case len(d.To.User) > maxUserPattern:
		err = errors.New("the user's pattern is too long")
	}
	return d, err
}

func parseHop(b []byte) (h Hop, err error) {
	p := wire.NewParser(b)
	if h.User, err = cString(&p); err != nil {
		return h, err
	}
	if h.Hostname, err = cString(&p); err != nil {
		return h, err
	}
	if reserved := p.Bytes(); len(reserved) > 0 {
		return h, errors.New("a part of a host is not known here")
	}
	for p.Len() > 0 && p.Err() == nil {
		k := HostKey{Blob: clone(p.Bytes()), Authority: p.Bool()}
		if p.Err() != nil {
			break
		}
		if _, err := parsePublic(k.Blob); err != nil {
			return h, errors.New("malformed host key")
		}
		if len(h.Keys) == maxHopKeys {
			return h, fmt.Errorf("more than %d keys of a host", maxHopKeys)
		}
		h.Keys = append(h.Keys, k)
	}
	return h, p.Err()
}
