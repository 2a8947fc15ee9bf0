package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/adit-ssh/adit/internal/fdpass"
	"github.com/adit-ssh/adit/internal/rawpipe"
)

// passConnection connects and passes the connection over standard output. Of a
// proxy without TLS it is the socket itself, from which no byte behind the
// proxy's answer was read; else, and through jump hosts, it is one end of a socket
// pair, whose other end belongs to a process of its own.
func passConnection(ctx context.Context, w *way, timeout time.Duration) error {
	limit := timeout
	switch {
	case w.Jump != "":
		limit = 0 // the process that pumps may ask questions, and knows how long they take
	case !w.bare() && limit > 0:
		limit += time.Second // it knows the stage
	}
	limited, stop := rawpipe.Limit(ctx, limit)
	defer stop()
	// Nobody waits for a descriptor any more when standard output hangs up.
	limited, cancel := context.WithCancelCause(limited)
	defer cancel(nil)
	gone, over := rawpipe.Watch(os.Stdout).Gone(), make(chan struct{})
	defer close(over)
	go func() { // ends with the function
		select {
		case <-gone:
			cancel(rawpipe.ErrClientGone)
		case <-over:
		}
	}()

	if !w.bare() {
		return passPumped(limited, w, timeout)
	}
	conn, err := w.dial(limited, nil, nil) // no questions without jump hosts
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
	Err      string // "" when it is connected
	Hint     string
	Warnings []string // for the person
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
	clock := rawpipe.NewClock(order.Timeout)
	limited, stop := clock.Limit(ctx)
	defer stop()
	var warned warnings
	conn, err := order.Way.dial(limited, clock, warned.add)
	if err != nil {
		return errors.Join(err, report(pumpReport{err.Error(), hint(err), warned.take()}))
	}
	if err := report(pumpReport{Warnings: warned.take()}); err != nil {
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

// warnings are kept until they are reported; what comes later nobody sees.
type warnings struct {
	mu       sync.Mutex
	texts    []string // guarded by mu
	reported bool     // guarded by mu
}

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.reported {
		w.texts = append(w.texts, text)
	}
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reported = true
	return w.texts
}

// pumpDrain is how long the client's last bytes may take when it has gone.
const pumpDrain = 5 * time.Second
