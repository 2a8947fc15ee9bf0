package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// Block is a Host or Match line, with what came of it.
type Block struct {
	Origin  Origin
	Text    string // the line, without the comment
	Pass    int    // 1, or 2 when the files were read again with the final host name
	Matched bool
	Reason  string // which pattern or condition decided
}

// hostBlock decides a Host line: one pattern matches, and none with ! before it
// (readconf.c, oHost).
func (r *reader) hostBlock(patterns []string) (matched bool, reason string, err error) {
	reason = fmt.Sprintf("no pattern matches %s", r.host)
	for _, p := range patterns {
		if p == "" {
			return false, "", errEmpty
		}
		p, not := strings.CutPrefix(p, "!")
		if !wildcard.Match(p, r.host) {
			continue
		}
		if not {
			return false, fmt.Sprintf("!%s excludes %s", p, r.host), nil
		}
		if !matched {
			matched, reason = true, fmt.Sprintf("%s matches %s", p, r.host)
		}
	}
	return matched, reason, nil
}

var errMatchAll = errors.New("all can't be combined with other conditions than canonical or final before it")

// matchBlock decides a Match line: all its conditions hold (readconf.c,
// match_cfg_line). never tells that the line's block can't apply whatever it
// says; then no command is run.
func (r *reader) matchBlock(ctx context.Context, args []string, never bool) (matched bool, reason string, err error) {
	host, err := r.currentHost()
	if err != nil {
		return false, "", err
	}
	if len(args) == 0 {
		return false, "", errors.New("no condition is given")
	}
	matched, reason = true, "all conditions hold"
	for n := 0; len(args) > 0; n++ {
		var c condition
		if c, args, err = nextCondition(args); err != nil {
			return false, "", err
		}
		if c.name == "all" {
			switch {
			case n > 1 || len(args) > 0:
				return false, "", errMatchAll
			case matched && c.not:
				return false, "!all never holds", nil
			}
			break
		}
		holds, what, err := r.holds(ctx, c, host, matched && !never)
		if err != nil {
			return false, "", err
		}
		if holds == c.not && matched {
			matched, reason = false, c.text+": "+what
		}
	}
	return matched, reason, nil
}

// condition is one condition of a Match line.
type condition struct {
	text      string // as written
	name, arg string
	not       bool
}

// nextCondition takes a condition and its value, which may be in one argument
// with it after a =.
func nextCondition(args []string) (c condition, rest []string, err error) {
	c.text = args[0]
	rest = args[1:]
	name, not := strings.CutPrefix(c.text, "!")
	name, arg, hasArg := strings.Cut(name, "=")
	c.name, c.arg, c.not = lower(name), arg, not
	switch {
	case slices.Contains([]string{"all", "canonical", "final"}, c.name):
		if hasArg {
			return c, nil, fmt.Errorf("the condition %s takes no value", c.name)
		}
		return c, rest, nil
	case !slices.Contains(conditionNames, c.name):
		return c, nil, withHint{fmt.Errorf("the condition %q is not known", c.name), "known are all, canonical, final, " + strings.Join(conditionNames, ", ")}
	case !hasArg && len(rest) > 0:
		c.arg, rest = rest[0], rest[1:]
		c.text += " " + c.arg
		hasArg = true
	}
	mayBeEmpty := c.name == "tagged" || c.name == "command"
	if !hasArg || c.arg == "" && !mayBeEmpty || strings.HasPrefix(c.arg, "#") {
		return c, nil, fmt.Errorf("the condition %s lacks its value", c.name)
	}
	return c, rest, nil
}

var conditionNames = strings.Fields("host originalhost user localuser localnetwork version tagged command sessiontype exec")

// holds decides one condition, its ! left aside, and returns what it was compared
// with. run tells whether commands may be run: not when another condition failed
// before.
func (r *reader) holds(ctx context.Context, c condition, host string, run bool) (holds bool, what string, err error) {
	arg := c.arg
	is := func(s string) (bool, string, error) {
		holds, _ := matchList(s, arg, false)
		if s == "" {
			holds = arg == "" // only tagged and command can be empty
		}
		return holds, fmt.Sprintf("it is %q", s), nil
	}
	switch c.name {
	case "canonical", "final":
		if c.name == "final" && !c.not {
			r.wantFinal = true
		}
		if r.final {
			return true, "this is the final pass", nil
		}
		return false, "this is the first pass", nil
	case "host":
		return matchHost(host, arg), "the host is " + host, nil
	case "originalhost":
		return matchHost(r.o.Host, arg), "the host was given as " + r.o.Host, nil
	case "user":
		user := r.s.text("user")
		if user == "" {
			user = r.o.User
		}
		return is(user)
	case "localuser":
		return is(r.o.User)
	case "version":
		return is(r.o.Version)
	case "tagged":
		return is(r.s.text("tag"))
	case "command":
		return is(r.o.Command)
	case "sessiontype":
		kind := r.s.text("sessiontype")
		switch {
		case kind == "subsystem" || kind == "none":
		case r.o.Command != "":
			kind = "exec"
		default:
			kind = "shell"
		}
		return is(kind)
	case "localnetwork":
		return r.localNetwork(arg)
	}
	return r.exec(ctx, arg, host, run)
}

func (r *reader) localNetwork(list string) (bool, string, error) {
	nets, err := parseNetworks(list)
	if err != nil {
		return false, "", err
	}
	addrs, err := r.o.Interfaces()
	if err != nil {
		return false, fmt.Sprintf("the addresses of this machine are not known: %v", err), nil
	}
	for _, a := range addrs {
		for _, n := range nets {
			if n.Contains(a.WithZone("")) {
				return true, fmt.Sprintf("%s is in %s", a, n), nil
			}
		}
	}
	return false, "no address of this machine is in it", nil
}

func (r *reader) exec(ctx context.Context, arg, host string, run bool) (bool, string, error) {
	command, err := expand(arg, r.tokens(host, host), nil)
	if err != nil {
		return false, "", err
	}
	if !run {
		return false, "not run, another condition failed already", nil
	}
	status, err := r.o.Exec(ctx, command)
	if err != nil {
		return false, "", fmt.Errorf("run %q: %w", command, err)
	}
	return status == 0, fmt.Sprintf("it ended with status %d", status), nil
}

// currentHost is the host's address as known so far: HostName when a line has
// set it, else the host as given.
func (r *reader) currentHost() (string, error) {
	name := r.s.text("hostname")
	if r.final || name == "" {
		return r.host, nil
	}
	return expandHostName(name, r.host)
}
