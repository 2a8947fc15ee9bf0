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
}

// Open connects and binds, within 5 seconds each. The agent's answer to the
// binding decides nothing: most agents refuse what they do not know. Some close
// the connection instead. Those are connected to again, and not asked any more;
// bound is false then, and to the agent the connection looks like one from here.
// With b nil nothing is bound. ctx bounds all of it; it does not bound what is
// done with the connection.
func (d *Dialer) Open(ctx context.Context, b *Binding) (conn net.Conn, bound bool, err error) {
	return d.open(ctx, b, bindLimit)
}

// open is Open with another limit for the binding.
func (d *Dialer) open(ctx context.Context, b *Binding, limit time.Duration) (conn net.Conn, bound bool, err error) {
	if b == nil {
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
		answered, err := bind(ctx, conn, b, limit)
		if answered {
			return conn, true, nil
		}
		conn.Close()
		if err != nil {
			return nil, false, err
		}
	}
	if !closes {
		d.mu.Lock()
		d.closes, d.closesID = true, id
		d.mu.Unlock()
	}
	conn, err = d.dial(ctx)
	return conn, false, err
}

// bind asks for the binding. answered is false when there is no connection any
// more; an error says that there is no use in another one.
func bind(ctx context.Context, conn net.Conn, b *Binding, limit time.Duration) (answered bool, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer for %v", limit))
	defer cancel()
	err = NewClient(conn).Bind(limited, *b)
	switch {
	case err == nil || errors.Is(err, ErrRefused):
		return true, nil
	case limited.Err() != nil:
		return false, fmt.Errorf("agent: %w", err)
	}
	return false, nil
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
