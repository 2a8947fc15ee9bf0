package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-ssh/adit/dial/ssm"
	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/trace"
)

// readForward reads --local and --remote.
func (a *ssmArgs) readForward(port bool) (err error) {
	switch {
	case a.local == "" && a.remote != "":
		return errors.New("--remote goes with --local, which says where to listen")
	case a.local == "":
		return nil
	case a.remote != "" && port:
		return errors.New("--remote and PORT both say where connections go: leave one out")
	case a.remote == "" && !port:
		return errors.New("--remote is due with --local: [HOST:]PORT")
	}
	if a.local, err = listenAddress(a.local); err != nil || a.remote == "" {
		return err
	}
	remote := a.remote
	if host, p, splitErr := net.SplitHostPort(a.remote); splitErr == nil {
		a.options.Host, remote = host, p
	}
	if a.options.Port, err = portNumber(remote); err != nil {
		return fmt.Errorf("bad --remote %q: [HOST:]PORT is due", a.remote)
	}
	return nil
}

// listenAddress reads [ADDRESS:]PORT. Without an address it is loopback; * is all.
func listenAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = "", s
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("bad --local %q: [ADDRESS:]PORT is due", s)
	}
	switch host {
	case "":
		host = "127.0.0.1"
	case "*":
		host = ""
	}
	return net.JoinHostPort(host, port), nil
}

// forward is --local: connections to a port here go to the target.
func (a *ssmArgs) forward(ctx context.Context) error {
	listener, err := net.Listen("tcp", a.local)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", a.local, err)
	}
	defer listener.Close()
	if a, err = a.follow(ctx); err != nil {
		return err
	}
	s, err := ssm.Load(ctx, a.config)
	if err != nil {
		return err
	}
	sessions, err := a.startSpread(ctx, s)
	if err != nil {
		return err
	}
	if ctx.Err() != nil { // it was interrupted meanwhile
		sessions.close()
		return context.Cause(ctx)
	}
	to := net.JoinHostPort(a.options.Host, strconv.Itoa(a.options.Port))
	if a.options.Host == "" {
		to = "port " + strconv.Itoa(a.options.Port)
	}
	fmt.Fprintf(os.Stderr, "adit: forwarding %s to %s through %s\n", listener.Addr(), to, a.options.Target)
	event := trace.Forward{What: "listen", Spec: a.local + " to " + to, Local: listener.Addr().String()}
	tracer := trace.FromContext(ctx)
	trace.Emit(tracer, event)
	event.Target = to

	var connections sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for pause := time.Duration(0); ; {
		c, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			sessions.close()
			connections.Wait()
			return context.Cause(ctx)
		case err != nil: // too many open files, perhaps: there will be fewer
			if pause == 0 {
				fmt.Fprintf(os.Stderr, "adit: warning: accept on %s: %v\n", listener.Addr(), err)
			}
			pause = min(max(5*time.Millisecond, 2*pause), time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		event := event
		event.What, event.Originator = "accept", c.RemoteAddr().String()
		trace.Emit(tracer, event)
		connections.Go(func() {
			defer c.Close()
			var err error
			event.Out, event.In, err = carry(ctx, sessions.Dial, c.(*net.TCPConn))
			if err != nil && ctx.Err() == nil {
				fmt.Fprintf(os.Stderr, "adit: warning: connection from %s to %s: %v\n", c.RemoteAddr(), to, err)
				event.Err = err.Error()
			}
			event.What = "done"
			trace.Emit(tracer, event)
		})
	}
}

// halfClosed is how long we go on to read for a client that has ended its
// direction, since the other end: Session Manager can't tell the target.
const halfClosed = 10 * time.Second

// lingering is a client's connection, which can end with a reset.
type lingering interface {
	net.Conn
	SetLinger(seconds int) error
}

// carry connects one client to the target until one of them ends. The client sees a
// proper end only if there was one. It counts the bytes each way.
func carry(ctx context.Context, dial func(context.Context) (net.Conn, error), local lingering) (out, in int64, err error) {
	remote, err := dial(ctx)
	if err != nil {
		local.SetLinger(0) // no answer is not an empty one
		return 0, 0, err
	}
	defer remote.Close()
	stop := context.AfterFunc(ctx, func() {
		local.Close()
		remote.Close()
	})
	defer stop()
	up := make(chan struct{})
	var left atomic.Bool // the client has gone, and nobody wants the rest
	go func() {          // ends with both connections
		defer close(up)
		var err error
		if out, err = io.Copy(remote, local); err != nil {
			left.Store(relay.PeerGone(err) || errors.Is(err, net.ErrClosed))
			remote.Close()
			return
		}
		remote.SetReadDeadline(time.Now().Add(halfClosed))
	}()
	buf := make([]byte, 64<<10)
	for {
		n, readErr := remote.Read(buf)
		if n > 0 {
			in += int64(n)
			if _, err := local.Write(buf[:n]); err != nil {
				left.Store(true)
				readErr = err
			}
			select {
			case <-up:
				remote.SetReadDeadline(time.Now().Add(halfClosed))
			default:
			}
		}
		if readErr != nil {
			err = readErr
			break
		}
	}
	if err == io.EOF {
		err = nil
	} else {
		local.SetLinger(0) // an answer that may lack its end must not look whole
	}
	if left.Load() || errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil // that is no trouble of ours
	}
	local.Close()
	remote.Close()
	<-up
	return out, in, err
}
