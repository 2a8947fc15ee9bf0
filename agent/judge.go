package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/internal/wildcard"
	"github.com/adit-ssh/adit/internal/wire"
)

// answer is what is known of a condition. All that must hold are the least of them,
// one that must the greatest.
type answer int8

const (
	no answer = iota
	maybe
	yes
)

func answerOf(b bool) answer {
	if b {
		return yes
	}
	return no
}

// RuleError is a key that rules hide.
type RuleError struct {
	Rule string // that decided; "" when none applied, and there is one that allows
	// Unsure says that the rule may not apply, or one that allows may, but that this is
	// not known: of a host without a name, for example.
	Unsure bool
}

func (e *RuleError) Error() string {
	switch {
	case e.Rule == "" && e.Unsure:
		return "no rule is sure to allow it: known_hosts has no name for a host's key, or it is not known where the request comes from"
	case e.Rule == "":
		return "no rule allows it"
	case e.Unsure:
		return fmt.Sprintf("it can't be told that a rule does not refuse it: %s", e.Rule)
	}
	return fmt.Sprintf("a rule refuses it: %s", e.Rule)
}

// judgement is Rules in certain circumstances, for keys to be judged without asking
// anybody any more. A nil one allows everything.
type judgement struct {
	r       *Rules
	signing bool
	rest    []answer // of each rule, as far as the key does not matter
}

// judge looks at what is not about the key.
func (r *Rules) judge(c circumstances) *judgement {
	if r == nil {
		return nil
	}
	j := &judgement{r: r, signing: c.signing != nil, rest: make([]answer, len(r.rules))}
	known := map[string]*host{}
	for i, one := range r.rules {
		j.rest[i] = yes
		for _, cond := range one.conditions {
			j.rest[i] = min(j.rest[i], r.holds(&cond, &c, known))
		}
	}
	return j
}

// holds answers a condition that is not about the key; others hold so far. known
// are the hosts that were looked up.
func (r *Rules) holds(cond *condition, c *circumstances, known map[string]*host) answer {
	switch cond.name {
	case "user":
		switch {
		case c.signing == nil || c.signing.Kind == SignsUnknown:
			return maybe
		case c.signing.Kind != SignsLogin:
			return no
		}
		return anyMatches(cond.values, c.signing.User)
	case "namespace":
		switch {
		case c.signing == nil:
			return maybe
		case c.signing.Kind != SignsSSHSIG:
			return no
		}
		return anyMatches(cond.values, c.signing.Namespace)
	case "host":
		switch {
		case c.signing != nil && c.signing.Kind == SignsSSHSIG:
			return no
		case c.host == nil:
			return maybe
		}
		best := no
		for _, v := range cond.values {
			best = max(best, r.host(c.host, known).is(v))
		}
		return best
	case "via":
		if c.unbound {
			return maybe
		}
		hops := make([]*host, len(c.hops))
		for i, key := range c.hops {
			hops[i] = r.host(key, known)
		}
		best := no
		for _, path := range cond.paths {
			best = max(best, along(path, hops))
		}
		return best
	}
	return yes
}

func anyMatches(patterns []string, text string) answer {
	return answerOf(slices.ContainsFunc(patterns, func(p string) bool { return wildcard.Match(p, text) }))
}

// along compares a path with the hosts over which a request comes. Row by row, the
// answers are those for the path's first elements and the first hosts.
func along(path []string, hops []*host) answer {
	row := make([]answer, len(hops)+1)
	row[0] = yes
	for _, element := range path {
		next := make([]answer, len(hops)+1)
		for i := range next {
			switch {
			case element == anyHops:
				next[i] = row[i]
				if i > 0 {
					next[i] = max(next[i], next[i-1])
				}
			case i > 0:
				next[i] = min(row[i-1], hops[i-1].is(element))
			}
		}
		row = next
	}
	return row[len(hops)]
}

// host is what is known about a host.
type host struct {
	hosts Hosts // may be nil
	key   []byte
	names []string
	more  bool
	asked map[string]bool
}

func (r *Rules) host(key []byte, known map[string]*host) *host {
	if h := known[string(key)]; h != nil {
		return h
	}
	h := &host{hosts: r.Hosts, key: key, asked: map[string]bool{}}
	if r.Hosts != nil {
		h.names, h.more = r.Hosts.Names(key)
	}
	known[string(key)] = h
	return h
}

// is says whether a pattern, or a fingerprint, is the host's. That of a host about
// which nothing is known may be.
func (h *host) is(pattern string) answer {
	if strings.HasPrefix(pattern, fingerprintPrefix) {
		return answerOf(Fingerprint(h.key) == pattern)
	}
	if slices.ContainsFunc(h.names, func(name string) bool { return wildcard.Match(pattern, strings.ToLower(name)) }) {
		return yes
	}
	if len(h.names) == 0 && !h.more {
		return maybe
	}
	if !strings.ContainsAny(pattern, "*?") {
		is, asked := h.asked[pattern]
		if !asked {
			is = h.hosts.Is(h.key, pattern)
			h.asked[pattern] = is
		}
		return answerOf(is)
	}
	if h.more {
		return maybe
	}
	return no
}

// key judges a key, in wire form, and tells the rule that allowed it, if one did. Of
// several comments any may have it refused, and the first, by which it is shown, allowed.
func (j *judgement) key(blob []byte, comments ...string) (rule string, err error) {
	if j == nil {
		return "", nil
	}
	unsure := false
	for i, one := range j.r.rules {
		holds, called := j.rest[i], comments
		if one.allow {
			called = comments[:1]
		}
		for _, cond := range one.conditions {
			if holds == no {
				break
			}
			holds = min(holds, cond.holdsFor(blob, called))
		}
		switch {
		case holds == no:
		// A rule that may not apply refuses signatures, and shows keys.
		case holds == maybe && one.allow == j.signing:
			unsure = unsure || one.allow
		case one.allow:
			return one.text, nil
		default:
			return "", &RuleError{one.text, holds == maybe}
		}
	}
	if j.r.allows {
		return "", &RuleError{Unsure: unsure}
	}
	return "", nil
}

// holdsFor answers a condition about the key; others hold so far.
func (c *condition) holdsFor(blob []byte, comments []string) answer {
	switch c.name {
	case "key":
		return answerOf(slices.Contains(c.values, Fingerprint(blob)))
	case "type":
		return anyMatches(c.values, typeOf(blob))
	case "comment":
		return answerOf(slices.ContainsFunc(comments, func(comment string) bool { return anyMatches(c.values, comment) == yes }))
	}
	return yes
}

// Fingerprint is the SHA256:… of a key in wire form, as ssh-add -l shows it: a
// certificate's is that of its key.
func Fingerprint(blob []byte) string {
	key, err := gossh.ParsePublicKey(blob)
	if err != nil {
		key = unread(blob)
	}
	return fingerprint(key)
}

// unread is a key of a kind that we can't read.
type unread []byte

func (u unread) Type() string                            { return typeOf(u) }
func (u unread) Marshal() []byte                         { return u }
func (unread) Verify(_ []byte, _ *gossh.Signature) error { return errors.New("it can't be read") }

// typeOf is a key's type, also of one that we can't read.
func typeOf(blob []byte) string {
	p := wire.NewParser(blob)
	return p.String()
}
