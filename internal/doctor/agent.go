package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/setup"
)

// agentSocket returns where the agent is, "" or "none" for nowhere, and who says
// so.
func (e *exam) agentSocket() (path, from string) {
	path, from = e.conf.IdentityAgent, "IdentityAgent at "+e.from("IdentityAgent")
	if name, ok := strings.CutPrefix(path, "$"); ok {
		return os.Getenv(name), from
	}
	if path != "" && path != "SSH_AUTH_SOCK" {
		return path, from
	}
	path, assumed := setup.AgentPath(path)
	if assumed {
		return path, agentService
	}
	return path, "SSH_AUTH_SOCK"
}

// agentService is who says where the agent is when nobody does.
const agentService = "where OpenSSH's service listens"

// checkAgent lists the agent's keys.
func (e *exam) checkAgent(ctx context.Context) {
	path, from := e.agentSocket()
	switch path {
	case "none":
		e.skip(StageAgent, "", "none is wanted ("+from+")")
		return
	case "":
		e.skip(StageAgent, "", "there is none: SSH_AUTH_SOCK is not set")
		return
	}
	c := Check{Stage: StageAgent, Status: OK}
	began := time.Now()
	keys, err := listKeys(ctx, path, e.limit)
	c.Took = time.Since(began)
	c.Text = fmt.Sprintf("%s has %d keys (%s)", oneLine(path), len(keys), from)
	for _, k := range keys {
		c.Details = append(c.Details, oneLine(keyType(k.Blob)+" "+k.Comment))
	}
	switch {
	case from == agentService && errors.Is(err, fs.ErrNotExist):
		e.skip(StageAgent, "", "there is none: SSH_AUTH_SOCK is not set, and the service ssh-agent does not run")
		e.agentGone = true
		return
	case err != nil:
		// Keys in files may do: the login's check tells. It is not to wait for
		// this one again.
		e.set.IdentityAgent, e.agentGone = "none", true
		c.Status, c.Text = Warning, oneLine(err.Error())
		c.Meaning = "the agent does not answer, so its keys can't be used (" + from + ")"
		c.Fix = "start one: eval $(ssh-agent); ssh-add. Or name one that runs: IdentityAgent PATH"
	case len(keys) == 0:
		c.Details = []string{"ssh-add FILE adds one"}
	}
	e.add(c)
}

// checkBind asks the agent to bind a connection of ours to the session, as
// OpenSSH does before it has the agent sign. An agent that can't is no fault:
// only keys that are limited to some servers need it.
func (e *exam) checkBind(ctx context.Context) {
	path, _ := e.agentSocket()
	if path == "" || path == "none" || e.client == nil || e.agentGone {
		return
	}
	began := time.Now()
	err := askAgent(ctx, path, e.limit, func(ctx context.Context, a *agent.Client) error {
		return a.Bind(ctx, agent.Binding{Session: e.client.Session()})
	})
	c := Check{Stage: StageAgent, Subject: "session-bind", Status: OK, Took: time.Since(began), Text: "the agent takes it: keys for certain servers only will do"}
	switch {
	case err == nil:
	case errors.Is(err, agent.ErrRefused):
		c.Status, c.Text = Skipped, "the agent does not know it: keys for certain servers only (ssh-add -h) can't be used with it"
	default:
		c.Status, c.Text = Skipped, oneLine(err.Error())+": it is used without, and keys for certain servers only (ssh-add -h) can't be"
	}
	e.add(c)
}

// keyType is a key's kind as the agent names it.
func keyType(blob []byte) string {
	key, err := gossh.ParsePublicKey(blob)
	if err != nil {
		return "a key of a kind not known here:"
	}
	return key.Type()
}

func listKeys(ctx context.Context, path string, limit time.Duration) (keys []agent.Identity, err error) {
	err = askAgent(ctx, path, limit, func(ctx context.Context, a *agent.Client) (err error) {
		keys, err = a.List(ctx)
		return err
	})
	return keys, err
}

// askAgent connects, asks, and closes the connection, within limit.
func askAgent(ctx context.Context, path string, limit time.Duration, question func(context.Context, *agent.Client) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	conn, _, err := agent.Socket(setup.Expand(path)).Open(ctx, nil)
	if err != nil {
		return err
	}
	c := agent.NewClient(conn)
	defer c.Close()
	if err = question(ctx, c); err != nil {
		err = fmt.Errorf("agent %s: %w", path, err)
	}
	return err
}
