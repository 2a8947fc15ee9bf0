package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/agent"
)

// How long an agent may take. One that keeps a vault asks its person before it
// lists keys. To sign may take as long as the login: somebody may have to
// confirm, or to touch a token.
const (
	agentListLimit  = 30 * time.Second
	agentPatience   = 3 * time.Second // until the person is told
	agentOtherLimit = 30 * time.Second
)

// defaultAgent is agent.DefaultPath, but for tests of what other systems have.
var defaultAgent = agent.DefaultPath

// AgentPath returns the path of the agent that an IdentityAgent names, or that is the
// person's where it is "" or SSH_AUTH_SOCK; "" for none. assumed is as that of
// agent.DefaultPath.
func AgentPath(identityAgent string) (path string, assumed bool) {
	switch identityAgent {
	case "", "SSH_AUTH_SOCK":
		path, assumed = defaultAgent()
	case "none":
		return "", false
	default:
		path = identityAgent
	}
	return Expand(path), assumed
}

// agentPath is the path of the agent (ssh_config: IdentityAgent); "" for none.
func (o *Options) agentPath() string {
	path, _ := AgentPath(o.IdentityAgent)
	return path
}

// agentKeys lists the agent's keys. An agent that does not answer is left out in
// the end: there may be keys in files.
func (o *Options) agentKeys(ctx context.Context) ([]adit.Key, error) {
	path, assumed := AgentPath(o.IdentityAgent)
	o.agentGone = false
	if path == "" {
		return nil, nil
	}
	a := &loginAgent{path: path, dialer: agent.Socket(path)}
	if s, ok := adit.SessionOf(ctx); ok {
		a.binding = &agent.Binding{Session: s}
	}
	limited, cancel := context.WithTimeoutCause(ctx, agentListLimit, fmt.Errorf("no answer for %v; go without it: -o IdentityAgent=none", agentListLimit))
	defer cancel()
	slow := time.AfterFunc(agentPatience, func() { o.notice(fmt.Sprintf("waiting for the agent %s to list its keys", path)) })
	defer slow.Stop()
	var listed []agent.Identity
	err := a.ask(limited, func(c *agent.Client) (err error) {
		listed, err = c.List(limited)
		return err
	})
	if assumed && errors.Is(err, fs.ErrNotExist) {
		o.agentGone = true // and nobody said that there was one
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []adit.Key
	for _, l := range listed {
		public, err := gossh.ParsePublicKey(l.Blob)
		if err != nil {
			continue // of a type that x/crypto does not know
		}
		name := printable(l.Comment)
		keys = append(keys, adit.Key{Signer: newAgentSigner(o, a, public, name), Comment: "agent key " + name, Probe: true})
	}
	return keys, nil
}

// loginAgent is the agent of one login. Each question has a connection of its own,
// which is bound to the login's session, and closed when the question is answered:
// nobody would be there to close one that stays, and some agents serve one
// connection at a time.
type loginAgent struct {
	path    string
	dialer  *agent.Dialer
	binding *agent.Binding // nil: for no login
}

// ask connects, runs question, and closes the connection. ctx bounds connecting.
func (a *loginAgent) ask(ctx context.Context, question func(*agent.Client) error) error {
	conn, _, err := a.dialer.Open(ctx, a.binding)
	if lost, ok := errors.AsType[*agent.LostError](err); ok && ctx.Err() == nil { // it is there, and mute
		return fmt.Errorf("agent %s: %w; go without it: -o IdentityAgent=none", a.path, lost)
	}
	if err != nil {
		return err
	}
	c := agent.NewClient(conn)
	defer c.Close()
	if err := question(c); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("agent %s: %w", a.path, err)
	}
	return nil
}

// agentSigner is a key that the agent holds. The agent may ask a person, for as
// long as the login's context lets it.
type agentSigner struct {
	agent.Signer
	o       *Options
	comment string // printable
}

func newAgentSigner(o *Options, a *loginAgent, public gossh.PublicKey, comment string) *agentSigner {
	s := &agentSigner{o: o, comment: comment}
	s.Public = public
	s.Ask = func(ctx context.Context, key, data []byte, flags uint32) (sig *gossh.Signature, err error) {
		err = a.ask(ctx, func(c *agent.Client) (err error) {
			sig, err = c.Sign(ctx, key, data, flags)
			return err
		})
		if err != nil && ctx.Err() == nil {
			if errors.Is(err, agent.ErrRefused) {
				err = agent.ErrRefused // OpenSSH's words
			}
			o.notice(fmt.Sprintf("warning: signing failed for %s %q from agent: %v", public.Type(), comment, err))
		}
		return sig, err
	}
	return s
}
