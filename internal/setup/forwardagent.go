package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/adit-ssh/adit/agent"
)

// AgentForwarder returns the agent that the server's programs may use (ssh_config:
// ForwardAgent), nil for none. It need not be there yet: each use connects anew.
//
// Yes is the agent that logs in (IdentityAgent), anything else is another one's
// socket, or $NAME for a variable that has it (OpenSSH, ssh.c). All sessions of a
// connection share what the first call returned.
func (o *Options) AgentForwarder() *agent.Forwarder {
	if o.forwarder == nil {
		o.forwarder = o.agentForwarder()
	}
	return o.forwarder
}

func (o *Options) agentForwarder() *agent.Forwarder {
	path := ""
	switch o.ForwardAgent {
	case "", "no":
		return nil
	case "yes":
		if path = o.agentPath(); path == "" {
			o.say(levelVerbose, "there is no agent to forward: SSH_AUTH_SOCK is not set")
			return nil
		}
	default:
		path = Expand(o.ForwardAgent)
		if name, ok := strings.CutPrefix(path, "$"); ok {
			if path = os.Getenv(name); path == "" {
				o.notice(fmt.Sprintf("warning: no agent is forwarded: ForwardAgent $%s: the variable is not set", name))
				return nil
			}
		}
		if agent.IsPipe(path) {
			break
		}
		if _, err := os.Stat(path); err != nil { // OpenSSH asks the server all the same
			if pe, ok := errors.AsType[*fs.PathError](err); ok {
				err = pe.Err
			}
			o.say(levelError, "Cannot forward agent socket path \"%s\": %v", printable(path), err)
		}
	}
	return &agent.Forwarder{Dialer: agent.Socket(path)}
}
