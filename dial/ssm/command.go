package ssm

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

//go:embed push.sh
var pushScript string

// script is push.sh with its values. All are in single quotes.
func (p *Pushed) script(act string) string {
	b := new(strings.Builder)
	for _, v := range [][2]string{
		{"act", act}, {"user", p.push.User}, {"mark", p.mark}, {"line", p.push.Key + " " + p.mark}, {"life", strconv.Itoa(int(PushLife.Seconds()))},
	} {
		b.WriteString("adit_" + v[0] + "=" + quoted(v[1]) + "\n")
	}
	return b.String() + pushScript
}

// quoted is s as one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Times of Run Command.
const (
	commandTimeout = 30 * time.Second // until it has run; AWS's least for its delivery
	pollFirst      = 100 * time.Millisecond
	pollMost       = time.Second
)

// send starts a script at the node and returns the command's id.
func (p *Pushed) send(ctx context.Context, act string) (command string, err error) {
	var out struct {
		Command struct {
			CommandID string `json:"CommandId"`
		}
	}
	err = p.service.api.call(ctx, "SendCommand", &sendCommand{
		DocumentName: "AWS-RunShellScript", InstanceIDs: []string{p.id}, TimeoutSeconds: int(commandTimeout.Seconds()),
		Comment:    "adit: " + act + " a key for a login",
		Parameters: map[string][]string{"commands": {p.script(act)}, "executionTimeout": {"60"}},
	}, &out)
	if err == nil && out.Command.CommandID == "" {
		err = errors.New("AWS's answer has no command's id")
	}
	return out.Command.CommandID, err
}

// byCommand has the script add the key, and waits until it has run.
func (p *Pushed) byCommand(ctx context.Context) error {
	s := p.service
	p.Way = PushSSM
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout, errCommandSlow)
	defer cancel()
	id, err := p.send(ctx, "add")
	if err != nil {
		return s.fail("ssm:SendCommand", p.push.Target, err)
	}
	for wait := pollFirst; ; wait = min(pollMost, wait*3/2) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return s.fail("ssm:SendCommand", p.push.Target, context.Cause(ctx))
		}
		var run invocation
		err := s.api.call(ctx, "GetCommandInvocation", &getInvocation{CommandID: id, InstanceID: p.id}, &run)
		switch {
		case refusedWith(err, "InvocationDoesNotExist"):
			continue // AWS does not know yet
		case err != nil:
			return s.fail("ssm:GetCommandInvocation", p.push.Target, err)
		}
		switch run.Status {
		case "Pending", "InProgress", "Delayed":
			continue
		case "Success":
			p.at = time.Now()
			return nil
		}
		return s.fail("ssm:SendCommand", p.push.Target, &commandError{run})
	}
}

var errCommandSlow = fmt.Errorf("the node did not run the command within %v", commandTimeout)

// noSuchUser is push.sh's exit status for a user that the node does not have.
const noSuchUser = 64

// commandError is a command that did not succeed.
type commandError struct{ run invocation }

func (e *commandError) Error() string {
	if said := strings.TrimSpace(e.run.StandardErrorContent); said != "" {
		return said[strings.LastIndexByte(said, '\n')+1:]
	}
	return fmt.Sprintf("the command ended as %s with status %d", e.run.state(), e.run.ResponseCode)
}

type sendCommand struct {
	DocumentName   string
	InstanceIDs    []string `json:"InstanceIds"`
	Parameters     map[string][]string
	Comment        string // 100 characters
	TimeoutSeconds int    // for the delivery, 30 at least
}

type getInvocation struct {
	CommandID  string `json:"CommandId"`
	InstanceID string `json:"InstanceId"`
}

type invocation struct {
	Status               string
	StatusDetails        string
	ResponseCode         int
	StandardErrorContent string
}

func (i *invocation) state() string { return cmp.Or(i.StatusDetails, i.Status) }
