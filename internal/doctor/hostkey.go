package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/knownhosts"
)

// checkHostKey tells whether the server is known, by which line.
func (e *exam) checkHostKey() {
	c := Check{Stage: StageHostKey, Status: OK, Took: e.shown.took}
	he, refused := errors.AsType[*adit.HostKeyError](e.err)
	if e.shown.at.IsZero() && !refused {
		e.notReached(StageHostKey, StageKex, "the server showed no host key")
		return
	}
	if e.shown.key != nil {
		c.Text = e.shown.key.Type() + " " + gossh.FingerprintSHA256(e.shown.key)
	}
	if !refused {
		if where := e.vouches(); where != "" {
			c.Details = []string{"known by " + where}
		}
		e.add(c)
		return
	}
	c.Status = Failed
	c.Details = []string{oneLine(he.Err.Error())}
	unknown, isUnknown := errors.AsType[*knownhosts.UnknownError](e.err)
	mismatch, isMismatch := errors.AsType[*knownhosts.MismatchError](e.err)
	switch {
	case isUnknown:
		c.Details = []string{"no line speaks of " + unknown.Host.String() + " in " + strings.Join(unknown.Files, ", ")}
		c.Meaning = "nobody has said yet that this key is the server's. " + e.wouldAsk()
		c.Fix = "compare the fingerprint with the server's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there. If it is the same, connect once with ssh or adit ssh and answer yes"
	case isMismatch:
		c.Details = nil
		for _, w := range mismatch.Want {
			c.Details = append(c.Details, fmt.Sprintf("known is %s %s (%s:%d)", w.Key.Type(), gossh.FingerprintSHA256(w.Key), w.File, w.Line))
		}
		c.Meaning = "the server shows another key than before: it was installed anew, another machine has its address, or somebody listens in"
		if len(mismatch.Want) > 0 {
			c.Fix = fmt.Sprintf("ask who runs the server. If the change is right: ssh-keygen -f '%s' -R '%s', and connect again", mismatch.Want[0].File, mismatch.Host)
		}
	default:
		c.Meaning = "the server could not prove that it is the one that was meant"
		c.Fix = "ask who runs the server"
	}
	e.add(c)
}

// wouldAsk says what adit ssh does with an unknown key.
func (e *exam) wouldAsk() string {
	from := e.from("StrictHostKeyChecking")
	if from != "" {
		from = " (StrictHostKeyChecking at " + from + ")"
	}
	switch e.conf.StrictHostKeyChecking {
	case "yes":
		return "adit ssh refuses such servers" + from
	case "no", "off", "accept-new":
		return "adit ssh accepts it and writes it down" + from + "; this examination does not"
	}
	return "adit ssh asks whether it is right" + from
}

// vouches returns the line of known_hosts that has the key, as file:line.
func (e *exam) vouches() string {
	var paths []string
	for _, p := range slices.Concat(e.conf.UserKnownHostsFiles, e.conf.GlobalKnownHostsFiles) {
		if p != "none" {
			paths = append(paths, setup.Expand(p))
		}
	}
	db, err := knownhosts.Load(paths...)
	if err != nil {
		return ""
	}
	host := knownhosts.Host{Name: e.conf.HostName, Port: e.conf.Port}
	if e.conf.HostKeyAlias != "" {
		host = knownhosts.Host{Name: e.conf.HostKeyAlias, Port: 22}
	}
	for _, entry := range db.Entries {
		one := &knownhosts.DB{Entries: []knownhosts.Entry{entry}}
		if one.Check(host, e.shown.key, time.Now()) == nil {
			by := ""
			if entry.Marker == "cert-authority" {
				by = ", an authority's"
			}
			return fmt.Sprintf("%s:%d%s", entry.File, entry.Line, by)
		}
	}
	return ""
}
