package setup

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/adit-ssh/adit/agent"
)

// addsKeys says whether keys from files go to the agent (ssh_config:
// AddKeysToAgent).
func (o *Options) addsKeys() bool { return o.AddKeys != "" && o.AddKeys != "no" }

// addToAgent gives the opened key to the agent, once. That it can't be done
// stops nobody from logging in (OpenSSH, sshconnect2.c, maybe_add_key_to_agent).
func (f *keyFile) addToAgent(ctx context.Context) {
	if !f.o.addsKeys() || f.private == nil {
		return
	}
	private := f.private
	f.private = nil
	path := f.o.agentPath()
	if path == "" || f.o.agentGone {
		return
	}
	comment := cmp.Or(f.comment, f.path)
	word, life, _ := strings.Cut(f.o.AddKeys, " ")
	if n, err := strconv.Atoi(word); err == nil {
		word, life = "yes", strconv.Itoa(n)
	}
	if word == "ask" {
		who, ok := f.o.Prompter.(Confirmer)
		if !ok || f.o.BatchMode {
			return
		}
		if yes, err := who.Confirm(ctx, fmt.Sprintf("Add key %s (%s) to agent?", f.path, printable(comment))); !yes || err != nil {
			return
		}
	}
	seconds, _ := strconv.ParseUint(cmp.Or(life, "0"), 10, 32)
	key := agent.AddedKey{PrivateKey: private, Comment: comment, Lifetime: uint32(seconds), Confirm: word == "confirm"}
	limited, cancel := context.WithTimeoutCause(ctx, agentOtherLimit, fmt.Errorf("no answer for %v", agentOtherLimit))
	defer cancel()
	a := &loginAgent{path: path, dialer: agent.Socket(path)} // not bound: the key is from here
	err := a.ask(limited, func(c *agent.Client) error { return c.Add(limited, key) })
	if err != nil {
		f.o.notice(fmt.Sprintf("warning: could not add %s to the agent: %v", f.path, err))
	}
}
