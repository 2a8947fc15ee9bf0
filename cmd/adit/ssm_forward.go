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
	"time"

	"github.com/adit-ssh/adit/dial/ssm"
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
	s, err := ssm.Load(ctx, a.config)
	if err != nil {
		return err
	}
	tunnel, err := s.Tunnel(ctx, a.options)
	if err != nil {
		return err
	}
	to := net.JoinHostPort(a.options.Host, strconv.Itoa(a.options.Port))
	if a.options.Host == "" {
		to = "port " + strconv.Itoa(a.options.Port)
	}
	fmt.Fprintf(os.Stderr, "adit: forwarding %s to %s through %s\n", listener.Addr(), to, a.options.Target)

	var connections sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		c, err := listener.Accept()
		if err != nil {
			tunnel.Close()
			connections.Wait()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("accept on %s: %w", listener.Addr(), err)
		}
		connections.Go(func() {
			defer c.Close()
			if err := carry(ctx, tunnel, c.(*net.TCPConn)); err != nil && ctx.Err() == nil {
				fmt.Fprintf(os.Stderr, "adit: warning: connection from %s to %s: %v\n", c.RemoteAddr(), to, err)
			}
		})
	}
}

// halfClosed is how long we go on to read for a client that has ended its
// direction, since the other end: Session Manager can't tell the target.
const halfClosed = 10 * time.Second

// carry connects one client to the target until one of them ends.
func carry(ctx context.Context, tunnel *ssm.Tunnel, local *net.TCPConn) error {
	remote, err := tunnel.Dial(ctx)
	if err != nil {
		local.SetLinger(0) // no answer is not an empty one
		return err
	}
	defer remote.Close()
	stop := context.AfterFunc(ctx, func() {
		local.Close()
		remote.Close()
	})
	defer stop()
	up := make(chan struct{})
	go func() { // ends with both connections
		defer close(up)
		if _, err := io.Copy(remote, local); err != nil {
			remote.Close()
			return
		}
		remote.SetReadDeadline(time.Now().Add(halfClosed))
	}()
	buf := make([]byte, 64<<10)
	for {
		n, readErr := remote.Read(buf)
		if n > 0 {
			if _, err := local.Write(buf[:n]); err != nil {
				readErr = io.EOF // the client has gone: that is no trouble of ours
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
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		err = nil
	} else {
		local.SetLinger(0)
	}
	local.Close()
	remote.Close()
	<-up
	return err
}
