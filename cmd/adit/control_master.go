//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/control"
	"github.com/adit-ssh/adit/sshconfig"
)

// master is the control socket of our connection; nil where there is none.
type master struct {
	*control.Master
}

// startMaster shares the connection if ControlMaster says so. A socket that there
// is already is told, and no reason to end.
func (a *sshArgs) startMaster(c *adit.Client, conf *sshconfig.Config, forwards []*running) (*master, error) {
	path := controlPath(conf)
	if path == "" || conf.ControlMaster == "no" || a.proxied != nil {
		return nil, nil
	}
	l, err := control.Listen(path)
	if _, exists := errors.AsType[*control.ExistsError](err); exists {
		a.sayError(err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cfg := control.Config{
		Client: c, Host: conf.HostName, Forwarding: a.forwarding,
		Env: conf.SessionEnv, Notice: a.Notice, ListChannels: a.observer.list,
	}
	if f := a.AgentForwarder(); f != nil && !c.Unverified() {
		cfg.ForwardAgent = func(ctx context.Context, session *adit.Conn) error { return c.ForwardAgent(ctx, session, f) }
	}
	for _, f := range forwards {
		cfg.Forwards = append(cfg.Forwards, control.Forward{Spec: f.Spec, Running: f.Forwarding})
	}
	if conf.ControlMaster == "ask" || conf.ControlMaster == "autoask" {
		t := a.Prompter.(*terminal)
		cfg.Confirm = func(ctx context.Context, question string) bool {
			yes, err := t.Confirm(ctx, question)
			if err != nil {
				a.Notice(fmt.Sprintf("ControlMaster %s: %v", conf.ControlMaster, err))
			}
			return yes
		}
	}
	a.Say("VERBOSE", fmt.Sprintf("the control socket %s is listening", path))
	return &master{control.Serve(l, cfg)}, nil
}

// end waits for the clients that are still there when our own session has ended,
// as OpenSSH does, and removes the socket.
func (m *master) end(ctx context.Context, c *adit.Client) {
	if m == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with end
		select {
		case <-m.Terminated():
		case <-c.Done():
		case <-ctx.Done():
		}
		cancel()
	}()
	m.Drain(ctx)
	m.Close()
}

// untilTerminated returns a context that ends when a client asks for our end
// (-O exit), which for OpenSSH is an exit status of 255 without a word.
func (m *master) untilTerminated(ctx context.Context) (_ context.Context, stop func()) {
	if m == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with ctx
		select {
		case <-m.Terminated():
			cancel(exitError(255))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// persistTime is how long a master stays without clients; 0 is for ever. stays is
// false if it ends with its own session.
func (a *sshArgs) persistTime(conf *sshconfig.Config) (timeout time.Duration, stays bool) {
	if controlPath(conf) == "" || a.proxied != nil || conf.ControlMaster == "no" || conf.ControlPersist == "no" {
		return 0, false
	}
	seconds, _ := strconv.Atoi(conf.ControlPersist) // "yes" is none
	return time.Duration(seconds) * time.Second, true
}

// unused returns a channel that is closed when nobody has used the connection for
// as long as ControlPersist says, or uses it after -O stop.
func (m *master) unused(ctx context.Context, timeout time.Duration) <-chan struct{} {
	if m == nil {
		return nil
	}
	over := make(chan struct{})
	go func() { // ends with ctx, at the latest
		idle, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { // ends with idle
			select {
			case <-m.Stopped():
				cancel()
			case <-idle.Done():
			}
		}()
		idled := timeout > 0 && m.Idle(idle, timeout)
		if !idled {
			select {
			case <-m.Stopped():
				idled = m.Idle(ctx, 0)
			case <-ctx.Done():
			}
		}
		if idled {
			close(over)
		}
	}()
	return over
}
