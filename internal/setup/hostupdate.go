package setup

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/knownhosts"
)

// follow is Config.ServerKeys: it learns the server's new keys and forgets those
// that it no longer has (UpdateHostKeys; OpenSSH, clientloop.c,
// client_input_hostkeys and update_known_hosts). Only a server whose key the
// user's own files have, or the person has confirmed, is believed.
func (h *hostKeys) follow(ctx context.Context, announced *adit.ServerKeys) {
	o := h.o
	if !h.trusted {
		return
	}
	db, err := knownhosts.Load(h.user...)
	if err != nil {
		return // told already
	}
	address := ""
	if o.CheckHostIP && h.peer.IsValid() && !h.peer.IsLoopback() {
		address = h.addressName()
	}
	u := db.Compare(h.host, address, announced.Keys)
	if !u.Changes() {
		return
	}
	if u.Refused != "" {
		o.say(levelVerbose, "UpdateHostKeys: %s; known_hosts is left as it is", u.Refused)
		return
	}
	keys := slices.DeleteFunc(slices.Clone(announced.Keys), func(k gossh.PublicKey) bool { return hasKey(u.New, k) })
	if len(u.New) > 0 {
		if u.New, err = announced.Prove(ctx, u.New); err != nil {
			if ctx.Err() == nil {
				o.say(levelError, "UpdateHostKeys: %v", err)
			}
			return
		}
		keys = slices.DeleteFunc(slices.Clone(announced.Keys), func(k gossh.PublicKey) bool { return !hasKey(keys, k) && !hasKey(u.New, k) })
	}
	if !h.accepted(ctx, u) {
		return
	}
	for i, file := range h.user {
		if i > 0 {
			keys = nil // the host's lines are in the first file
		}
		err := knownhosts.Replace(file, h.host, address, keys, o.HashKnown)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.say(levelError, "UpdateHostKeys: %v", err)
		}
	}
}

func hasKey(keys []gossh.PublicKey, k gossh.PublicKey) bool {
	return slices.ContainsFunc(keys, func(o gossh.PublicKey) bool { return string(o.Marshal()) == string(k.Marshal()) })
}

// accepted tells what changes, and asks if that is wanted.
func (h *hostKeys) accepted(ctx context.Context, u knownhosts.Update) bool {
	o := h.o
	asking := o.UpdateHostKeys == "ask"
	level := levelVerbose
	if asking {
		level = levelInfo
	}
	var lines []string
	for _, k := range u.New {
		lines = append(lines, "Learned new hostkey: "+knownhosts.TypeName(k)+" "+o.fingerprint(k))
	}
	for _, k := range u.Old {
		lines = append(lines, "Deprecating obsolete hostkey: "+knownhosts.TypeName(k)+" "+o.fingerprint(k))
	}
	if len(lines) == 0 {
		return false
	}
	if asking {
		lines = append([]string{"The server has updated its host keys.", "These changes were verified by the server's existing trusted key."}, lines...)
	}
	o.say(level, "%s", strings.Join(lines, "\n"))
	if !asking {
		return true
	}
	for range 3 {
		answer, ok, err := o.Prompter.Ask(ctx, "Accept updated hostkeys? (yes/no): ", true)
		switch {
		case err != nil, !ok, strings.EqualFold(answer, "no"):
			return false
		case strings.EqualFold(answer, "yes"):
			return true
		}
		o.say(level, "Please enter \"yes\" or \"no\"")
	}
	return false
}

// hostFiles returns the files that are named, expanded; none is none.
func hostFiles(files []string) (paths []string) {
	for _, f := range files {
		if !strings.EqualFold(f, "none") {
			paths = append(paths, Expand(f))
		}
	}
	return paths
}
