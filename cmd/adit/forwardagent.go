package main

import (
	"context"

	"github.com/adit-ssh/adit"
)

// forwardAgent lets the programs of a session, which has none yet, use the agent
// (-A, ForwardAgent). A server whose key is wrong gets none; that was told when it
// showed the key.
func (a *sshArgs) forwardAgent(ctx context.Context, c *adit.Client, session *adit.Conn) error {
	f := a.AgentForwarder()
	if f != nil && a.proxied != nil {
		a.sayAs("ERROR", "The agent is not forwarded over another program's connection.")
		return nil
	}
	if f == nil || c.Unverified() {
		return nil
	}
	return c.ForwardAgent(ctx, session, f)
}
