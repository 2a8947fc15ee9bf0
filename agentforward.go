package adit

import (
	"context"
	"errors"
	"fmt"

	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/mux"
	"github.com/adit-ssh/adit/internal/relay"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/trace"
)

// Session returns what names the connection to an agent: host key, session id and
// the server's signature of the first key exchange, also after others.
func (c *Client) Session() agent.Session {
	return agent.Session{HostKey: c.t.HostKey(), ID: c.t.SessionID(), Signature: c.t.HostKeySignature()}
}

// sessionKey is under which a context has its agent.Session.
type sessionKey struct{}

// SessionOf returns the session for which Config.Keys is called with ctx: an agent
// is told of it before it lists keys and before it signs.
func SessionOf(ctx context.Context) (agent.Session, bool) {
	s, ok := ctx.Value(sessionKey{}).(agent.Session)
	return s, ok
}

// keys is Config.Keys with the session in its context.
func (c *Client) keys() func(context.Context) ([]Key, error) {
	if c.cfg.Keys == nil {
		return nil
	}
	return func(ctx context.Context) ([]Key, error) {
		return c.cfg.Keys(context.WithValue(ctx, sessionKey{}, c.Session()))
	}
}

// ForwardAgent lets the programs of a session use an agent, as ssh -A does. session
// is a channel of type session on which no program was started yet. The server
// gives no answer that one could rely on, so that none is asked for (OpenSSH,
// ssh.c, ssh_session2_setup).
//
// All sessions of a connection share one Forwarder: that of the first call. A
// server that is Unverified gets no agent. Once the server has been asked, it may
// open channels to the agent until the connection ends.
func (c *Client) ForwardAgent(ctx context.Context, session *Conn, f *agent.Forwarder) error {
	if c.unverified {
		return fmt.Errorf("agent forwarding: %w", ErrUnverified)
	}
	if len(c.t.SessionID()) == 0 {
		return errors.New("agent forwarding: the session is the master's, so that the agent can't be told which it is")
	}
	if f == nil || f.Dialer == nil {
		return errors.New("agent forwarding: no agent is given")
	}
	if !c.agent.CompareAndSwap(nil, f) && c.agent.Load() != f {
		return errors.New("agent forwarding: this connection forwards another agent already")
	}
	// The name of RFC 9987 where the server knows it (section 7).
	name := wire.RequestAgentFwd
	if v, ok := c.t.PeerExtension(wire.ExtAgentForward); ok && string(v) == "0" {
		name = wire.RequestAgentFwdRFC
	}
	if _, err := session.SendRequest(ctx, name, false, nil); err != nil {
		return fmt.Errorf("agent forwarding: %w", err)
	}
	return nil
}

// serveAgent serves a channel to the agent until it ends. It runs on a goroutine of
// the channel's own.
func (c *Client) serveAgent(f *agent.Forwarder, p *mux.Pending) {
	in := &agentChannel{Pending: p}
	event := trace.Forward{What: "refused", Spec: "agent", Originator: "a program at the server", Target: "agent"}
	err := f.Serve(p.Context(), c.Session(), in)
	if err != nil {
		event.Err = err.Error()
	}
	if in.accepted {
		event.What = "done"
	}
	trace.Emit(c.cfg.Tracer, event)
}

// agentChannel is an open as an agent.Incoming.
type agentChannel struct {
	*mux.Pending
	accepted bool
}

// Accept implements agent.Incoming.
func (a *agentChannel) Accept() (relay.Conn, error) {
	ch, err := a.Pending.Accept(mux.Options{})
	if err != nil {
		return nil, err
	}
	a.accepted = true
	return ch, nil
}
