//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-ssh/adit/internal/fdpass"
	"github.com/adit-ssh/adit/internal/rawpipe"
)

// The descriptors that the process that pumps is given.
const (
	pumpLocal  = 3 // its end of the pair whose other end is passed on
	pumpOrders = 4 // where its order comes from and its report goes
)

// passPumped starts a process that connects and pumps, and passes the other end
// of its socket pair over standard output. That process is its own session's,
// holds none of our standard streams, and ends with the connection.
func passPumped(ctx context.Context, w *way, timeout time.Duration) error {
	passed, local, err := fdpass.Pair()
	if err != nil {
		return err
	}
	defer passed.Close()
	defer local.Close()
	orders, orderFile, err := fdpass.Pair()
	if err != nil {
		return err
	}
	defer orders.Close()
	defer orderFile.Close()

	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, to start it again: %w", err)
	}
	cmd := exec.Command(self, pumpVerb)
	cmd.Args[0] = "adit" // whatever name it was called by
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{local, orderFile}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if w.CA, err = absolute(w.CA); err != nil {
		return err
	}
	if w.Config != "none" {
		if w.Config, err = absolute(w.Config); err != nil {
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the process that pumps: %w", err)
	}
	local.Close()
	orderFile.Close()
	if err := hire(ctx, orders, pumpOrder{*w, timeout}); err != nil {
		// Without us it ends; it is still ours to wait for.
		orders.Close()
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	if err := fdpass.Send(os.Stdout, passed); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	return cmd.Process.Release()
}

// absolute is a file's path for a process in another folder.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// hire sends the order and waits for the report.
func hire(ctx context.Context, orders net.Conn, order pumpOrder) error {
	stop := context.AfterFunc(ctx, func() { orders.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	b, err := json.Marshal(order)
	if err != nil {
		return err
	}
	var report pumpReport
	_, err = orders.Write(append(b, '\n'))
	if err == nil {
		err = json.NewDecoder(io.LimitReader(orders, maxReport)).Decode(&report)
	}
	for _, text := range report.Warnings {
		warn(text)
	}
	switch {
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded):
		return context.Cause(ctx)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("connect to %s: %w", order.Way.Address, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("the process that pumps has ended: %w", err)
	case report.Err != "":
		return &pumpedError{report}
	}
	return nil
}

// pumpVerb is not for people.
const pumpVerb = "connect-pump"

func pumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:    pumpVerb,
		Short:  "What adit connect --fdpass leaves behind for an https proxy and jump hosts",
		Hidden: true,
		Args:   noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			local, err := inherited(pumpLocal)
			if err != nil {
				return err
			}
			orders, err := inherited(pumpOrders)
			if err != nil {
				return err
			}
			defer orders.Close()
			var order pumpOrder
			d := json.NewDecoder(io.LimitReader(orders, maxReport))
			if err := d.Decode(&order); err != nil {
				return fmt.Errorf("read the order: %w", err)
			}
			hired := make(chan struct{})
			go func() { // ends when who has started us has what it wanted, or ends
				orders.Read(make([]byte, 1))
				select {
				case <-hired:
				default:
					cancel()
				}
			}()
			raw, err := local.(*net.UnixConn).File()
			if err != nil {
				return err
			}
			defer raw.Close()
			return serveOrder(ctx, order, local, rawpipe.Watch(raw).Gone(), func(r pumpReport) error {
				close(hired)
				return json.NewEncoder(orders).Encode(r)
			})
		},
	}
}

// inherited is a unix socket that the process was started with.
func inherited(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "inherited")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("%s is started by adit connect only: descriptor %d: %w", pumpVerb, fd, err)
	}
	if _, ok := c.(*net.UnixConn); !ok {
		c.Close()
		return nil, fmt.Errorf("%s is started by adit connect only: descriptor %d is no unix socket", pumpVerb, fd)
	}
	return c, nil
}
