package doctor

import (
	"errors"
	"slices"
	"strings"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/trace"
)

// keywordOf is the setting of ssh_config for what NegotiationError names.
var keywordOf = []struct{ what, keyword string }{
	{"key exchange", "KexAlgorithms"}, {"host key", "HostKeyAlgorithms"}, {"cipher", "Ciphers"}, {"MAC", "MACs"},
}

// checkNegotiation tells what the lists of both sides have in common.
func (e *exam) checkNegotiation() {
	c := Check{Stage: StageNegotiation, Status: OK}
	n, at, ok := event[trace.Negotiated](e)
	ne, none := errors.AsType[*adit.NegotiationError](e.err)
	_, before, _ := event[trace.Version](e)
	switch {
	case ok:
		c.Took = at.Sub(before)
		names := unique(n.Kex, n.HostKey, n.CipherOut, n.CipherIn, n.MACOut, n.MACIn)
		if zlib := strings.TrimPrefix(n.CompressionOut, "none"); zlib != "" {
			names = append(names, zlib)
		}
		c.Text = strings.Join(names, ", ")
	case none:
		c.Took = e.ended.Sub(before)
		c.Status, c.Text = Failed, "no "+ne.What+" algorithm in common"
		c.Details = []string{"we offer: " + oneLine(strings.Join(ne.Local, ",")), "the server offers: " + oneLine(strings.Join(ne.Peer, ","))}
		c.Meaning = "each side refuses what the other one can do: an old server, or a list in the configuration that is too short"
		c.Fix = "update the server"
		for _, k := range keywordOf {
			if strings.HasPrefix(ne.What, k.what) {
				if from := e.from(k.keyword); from != "" {
					c.Fix = "mend " + k.keyword + " at " + from
				} else if known := canAdd(k.keyword, ne.Peer); known != "" {
					c.Fix += ", or allow what it has for this host alone: " + k.keyword + " +" + known
				}
			}
		}
	default:
		e.notReached(StageNegotiation, StageVersion, "the server's lists of algorithms did not come or were wrong")
		return
	}
	e.add(c)
}

// canAdd returns the first of the server's algorithms that we have, though not by
// default.
func canAdd(keyword string, peer []string) string {
	supported := setup.Supported(keyword)
	if i := slices.IndexFunc(peer, func(name string) bool { return slices.Contains(supported, name) }); i >= 0 {
		return peer[i]
	}
	return ""
}

func unique(names ...string) (out []string) {
	for _, n := range names {
		if n != "" && (len(out) == 0 || out[len(out)-1] != n) {
			out = append(out, n)
		}
	}
	return out
}

// notReached adds a check for a stage that failed if the one before it did not,
// and was not reached otherwise.
func (e *exam) notReached(s, before Stage, what string) {
	for _, c := range e.r.Checks {
		if c.Stage >= StageVersion && c.Stage <= before && c.Status == Failed {
			e.skip(s, "", "not reached")
			return
		}
	}
	text := what
	if e.err != nil {
		text = oneLine(e.err.Error())
	}
	e.add(Check{Stage: s, Status: Failed, Text: text, Meaning: what, Fix: "the server's log may say more; adit ssh -vvv shows the messages"})
}

// checkKex tells how the key exchange went.
func (e *exam) checkKex() {
	_, hostKey := errors.AsType[*adit.HostKeyError](e.err)
	done, at, ok := event[trace.KexDone](e)
	_, before, _ := event[trace.Negotiated](e)
	c := Check{Stage: StageKex, Status: OK}
	switch {
	case ok:
		c.Took = at.Sub(before) - e.shown.took
		c.Text = "done"
		if !done.Strict {
			c.Text = "done, without strict key exchange: the server is from before December 2023"
		}
	case hostKey:
		c.Text = "the server's answer came"
		if !e.shown.at.IsZero() {
			c.Took = e.shown.at.Sub(before)
		}
	default:
		e.notReached(StageKex, StageNegotiation, "the key exchange did not come to its end")
		return
	}
	e.add(c)
}
