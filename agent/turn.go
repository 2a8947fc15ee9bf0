package agent

import (
	"context"
	"errors"
	"net"
	"time"
)

// turnLimit is how long a request waits behind others at an agent that serves one
// connection at a time. A person may be asked for each of those.
const turnLimit = 30 * time.Second

// turns tell a mute agent from one that serves one connection at a time, and has another
// one of ours. Its zero value is ready.
//
// Guarded by Dialer.mu.
type turns struct {
	using   int           // connections that were bound, and are used
	changes int           // of using
	ended   chan struct{} // closed when the next of them ends; nil while nobody waits for that
}

func (t *turns) changeLocked(by int) {
	t.using += by
	t.changes++
	if by < 0 && t.ended != nil {
		close(t.ended)
		t.ended = nil
	}
}

// afterLocked says what follows from an agent's silence since the count of changes was
// seen: to wait until one that is used ends, to ask again at once, or, with nil, that the
// agent is mute.
func (t *turns) afterLocked(seen int) <-chan struct{} {
	switch {
	case t.using == 0 && t.changes == seen:
		return nil
	case t.using == 0:
		now := make(chan struct{})
		close(now)
		return now
	case t.ended == nil:
		t.ended = make(chan struct{})
	}
	return t.ended
}

// openInTurn is open for connections that are many at once: where the agent does not
// answer, but others of the Dialer's connections are open to it, that may be since it
// serves one at a time. So when one of those ends, it is asked again. done is called when the
// connection was closed.
func (d *Dialer) openInTurn(ctx context.Context, way []Binding) (conn net.Conn, bound bool, done func(), err error) {
	late := time.NewTimer(turnLimit)
	defer late.Stop()
	for {
		d.mu.Lock()
		seen := d.turns.changes
		d.mu.Unlock()
		if conn, bound, err = d.open(ctx, way); err == nil {
			d.turn(+1)
			return conn, bound, func() { d.turn(-1) }, nil
		}
		if !errors.Is(err, errMute) {
			return nil, false, nil, err
		}
		d.mu.Lock()
		free := d.turns.afterLocked(seen)
		d.mu.Unlock()
		if free == nil {
			return nil, false, nil, err
		}
		select {
		case <-free:
		case <-late.C:
			return nil, false, nil, err
		case <-ctx.Done():
			return nil, false, nil, context.Cause(ctx)
		}
	}
}

func (d *Dialer) turn(by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turns.changeLocked(by)
}
