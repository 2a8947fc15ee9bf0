package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// How long an agent may take. Neither step asks a person.
const (
	dialLimit = 5 * time.Second
	bindLimit = 5 * time.Second
)

// Dialer opens connections to one agent, each bound to a session before it is
// used. It must not be copied after its first use. Its methods may be called by
// several goroutines at once.
type Dialer struct {
	// Dial connects to the agent. It is given up after 5 seconds.
	Dial func(ctx context.Context) (net.Conn, error)
	// Identity tells the agent from one that takes its place later, such as by its
	// socket's inode. Nil: there is but one.
	Identity func() string

	mu sync.Mutex
	// Guarded by mu.
	closes   bool   // the agent closes connections on which it is asked to bind
	closesID string // its identity
	turns    turns  // of those who open in turn
}

// Open connects and binds, within 5 seconds each. The agent's answer to the
// binding decides nothing: most agents refuse what they do not know. Some close
// the connection instead. Those are connected to again, and not asked any more;
// bound is false then, and to the agent the connection looks like one from here.
// With b nil nothing is bound. ctx bounds all of it; it does not bound what is
// done with the connection.
func (d *Dialer) Open(ctx context.Context, b *Binding) (conn net.Conn, bound bool, err error) {
	if b == nil {
		return d.open(ctx, nil)
	}
	return d.open(ctx, []Binding{*b})
}

// open is Open for several bindings, one after the other.
func (d *Dialer) open(ctx context.Context, way []Binding) (conn net.Conn, bound bool, err error) {
	if len(way) == 0 {
		conn, err = d.dial(ctx)
		return conn, false, err
	}
	id := ""
	if d.Identity != nil {
		id = d.Identity()
	}
	d.mu.Lock()
	closes := d.closes && d.closesID == id
	d.mu.Unlock()
	// It is asked twice before we do without: an agent that was just restarted closes
	// once, and a connection that is not bound looks like one from here.
	for range 2 {
		if closes {
			break
		}
		if conn, err = d.dial(ctx); err != nil {
			return nil, false, err
		}
		answered, err := bind(ctx, conn, way)
		if answered {
			return conn, true, nil
		}
		conn.Close()
		if err != nil {
			return nil, false, err
		}
	}
	if !closes && way[0].Signature != nil { // that it closes at nowhere means nothing
		d.mu.Lock()
		d.closes, d.closesID = true, id
		d.mu.Unlock()
	}
	conn, err = d.dial(ctx)
	return conn, false, err
}

// nowhere is the way of who can't be told from others: it proves nothing, so that
// agents refuse it, and then show no keys with destinations over the connection
// (OpenSSH 9.6).
var nowhere = []Binding{{Forwarding: true}}

// errMute is an agent that does not answer when it is asked to bind.
var errMute = fmt.Errorf("no answer for %v", bindLimit)

// bind asks for the bindings. answered is false when there is no connection any
// more; an error says that there is no use in another one. An agent that refuses one and
// takes a later one, which would be a shorter way to it, is not used (errGap).
func bind(ctx context.Context, conn net.Conn, way []Binding) (answered bool, err error) {
	c := NewClient(conn)
	refused := false
	for _, b := range way {
		limited, cancel := context.WithTimeoutCause(ctx, bindLimit, errMute)
		err := c.Bind(limited, b)
		late := limited.Err() != nil
		cancel()
		switch {
		case err == nil && refused:
			return false, fmt.Errorf("agent: %w", errGap)
		case err == nil:
		case errors.Is(err, ErrRefused):
			refused = true
		case late:
			return false, fmt.Errorf("agent: %w", err)
		default:
			return false, nil
		}
	}
	return true, nil
}

func (d *Dialer) dial(ctx context.Context) (net.Conn, error) {
	limited, cancel := context.WithTimeoutCause(ctx, dialLimit, fmt.Errorf("no connection for %v", dialLimit))
	defer cancel()
	conn, err := d.Dial(limited)
	if err != nil {
		if limited.Err() != nil {
			err = context.Cause(limited)
		}
		return nil, fmt.Errorf("agent: %w", err)
	}
	return conn, nil
}
