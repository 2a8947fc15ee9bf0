package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/adit-ssh/adit/internal/fdpass"
	"github.com/adit-ssh/adit/internal/rawpipe"
)

// passConnection connects and passes the connection over standard output. Of a
// proxy without TLS it is the socket itself, from which no byte behind the
// proxy's answer was read; else it is one end of a socket pair, whose other end
// belongs to a process of its own.
func passConnection(ctx context.Context, w *way, timeout time.Duration) error {
	limit := timeout
	if w.tls() && limit > 0 {
		limit += time.Second // the process that pumps knows the stage
	}
	limited, stop := rawpipe.Limit(ctx, limit)
	defer stop()
	// Nobody waits for a descriptor any more when standard output hangs up.
	limited, cancel := context.WithCancelCause(limited)
	defer cancel(nil)
	gone, over := rawpipe.Gone(os.Stdout), make(chan struct{})
	defer close(over)
	go func() { // ends with the function
		select {
		case <-gone:
			cancel(rawpipe.ErrClientGone)
		case <-over:
		}
	}()

	if w.tls() {
		return passPumped(limited, w, timeout)
	}
	conn, err := w.dial(limited)
	if err != nil {
		return err
	}
	defer conn.Close()
	socket, ok := conn.(syscall.Conn)
	if !ok {
		panic(fmt.Sprintf("BUG: %T is no socket", conn))
	}
	return fdpass.Send(os.Stdout, socket)
}

// pumpOrder is what the process that pumps is told.
type pumpOrder struct {
	Way     way
	Timeout time.Duration
}

// pumpReport is what it answers.
type pumpReport struct {
	Err  string // "" when it is connected
	Hint string
}

// pumpedError is the error of the process that pumps.
type pumpedError struct{ pumpReport }

func (e *pumpedError) Error() string { return e.Err }

// maxReport bounds what is read of an order or a report, in bytes.
const maxReport = 64 << 10

// serveOrder connects as ordered and pumps between local and the connection
// until one of them has ended. report is called once.
func serveOrder(ctx context.Context, order pumpOrder, local net.Conn, gone <-chan struct{}, report func(pumpReport) error) error {
	defer local.Close()
	limited, stop := rawpipe.Limit(ctx, order.Timeout)
	defer stop()
	conn, err := order.Way.dial(limited)
	if err != nil {
		return errors.Join(err, report(pumpReport{err.Error(), hint(err)}))
	}
	if err := report(pumpReport{}); err != nil {
		conn.Close()
		return err
	}
	closeOut := func() error { return nil }
	if h, ok := local.(interface{ CloseWrite() error }); ok {
		closeOut = h.CloseWrite
	}
	p := &rawpipe.Pipe{
		In: local, Out: local, CloseOut: closeOut, Gone: gone, Drain: pumpDrain, NotSSH: true,
		Dial: func(context.Context) (net.Conn, error) { return conn, nil },
	}
	return p.Run(ctx)
}

// pumpDrain is how long the client's last bytes may take when it has gone.
const pumpDrain = 5 * time.Second
