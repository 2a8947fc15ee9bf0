package sshconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/adit-ssh/adit/internal/wildcard"
)

// The parsers of keywords that take lists.

func files(l *line) error {
	all, err := l.takeList("none")
	if err != nil {
		return err
	}
	if len(all) > maxHostFiles {
		return fmt.Errorf("more than %d files", maxHostFiles)
	}
	l.setList(all)
	return nil
}

// list is a list that needs one value at least.
func list(l *line) error {
	all, err := l.takeList("none")
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errMissing
	}
	l.setList(all)
	return nil
}

// firstOfList keeps only the first value, as OpenSSH does with LogVerbose.
func firstOfList(l *line) error {
	all, err := l.takeList("none")
	if err == nil && len(all) > 0 {
		l.set(all[0])
	}
	return err
}

// addPath adds a file, unless the same kind of file names it already.
func addPath(l *line) error {
	arg, err := l.need()
	if err != nil || !l.active {
		return err
	}
	have := l.r.s[l.name]
	if slices.ContainsFunc(have, func(v value) bool { return v.text == arg && v.user == l.user }) {
		return nil
	}
	if len(have) >= maxKeyFiles {
		return fmt.Errorf("more than %d files", maxKeyFiles)
	}
	return l.add(l.value(arg))
}

func domains(l *line) error {
	all, err := l.takeList("none")
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errMissing
	}
	for i := range all {
		if all[i], err = validDomain(all[i]); err != nil {
			return err
		}
	}
	l.setList(all)
	return nil
}

// cnames reads rules "sources:targets", * for all, or none.
func cnames(l *line) error {
	all, err := l.takeList("none")
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errMissing
	}
	for i, arg := range all {
		switch {
		case strings.EqualFold(arg, "none"):
			all[i] = "none"
		case arg == "*":
			all[i] = "*:*"
		default:
			if _, targets, _ := strings.Cut(arg, ":"); targets == "" {
				return fmt.Errorf("%q is not a rule such as *.a.example:*.b.example", arg)
			}
			all[i] = lower(arg)
		}
	}
	l.setList(all)
	return nil
}

func channelTimeouts(l *line) error {
	all, err := l.takeList("none")
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errMissing
	}
	for _, arg := range all {
		if strings.EqualFold(arg, "none") {
			continue
		}
		kind, limit, ok := strings.Cut(arg, "=")
		if !ok || kind == "" {
			return fmt.Errorf("%q is not a channel type and a time, such as direct-tcpip=10m", arg)
		}
		if _, err := parseTime(limit); err != nil {
			return err
		}
	}
	l.setList(all)
	return nil
}

func remoteOpens(l *line) error {
	all, err := l.takeList("any", "none")
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errMissing
	}
	for _, arg := range all {
		if strings.EqualFold(arg, "any") || strings.EqualFold(arg, "none") {
			continue
		}
		_, portText, ok := cutHostPort(arg)
		if ok && portText == "*" {
			continue
		}
		if n, err := parsePort(portText); !ok || err != nil || n == 0 {
			return fmt.Errorf("%q is not host:port", arg)
		}
	}
	l.setList(all)
	return nil
}

// sendEnv adds patterns of names; one with - before it takes away those that it
// matches.
func sendEnv(l *line) error {
	if len(l.args) == 0 {
		return errMissing
	}
	for len(l.args) > 0 {
		arg, _ := l.next()
		if arg == "" || strings.Contains(arg, "=") {
			return fmt.Errorf("%q is not the name of an environment variable", arg)
		}
		pattern, remove := strings.CutPrefix(arg, "-")
		if !remove {
			if err := l.add(l.value(arg)); err != nil {
				return err
			}
		} else if l.active {
			l.r.s[l.name] = slices.DeleteFunc(l.r.s[l.name], func(v value) bool { return wildcard.Match(pattern, v.text) })
		}
	}
	return nil
}

func setEnv(l *line) error {
	if len(l.args) == 0 {
		return errMissing
	}
	var all []string
	for len(l.args) > 0 {
		arg, _ := l.next()
		name, _, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not name=value", arg)
		}
		if !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, name+"=") }) {
			all = append(all, arg)
		}
	}
	l.setList(all)
	return nil
}

// cutHostPort splits host:port, [host]:port or host. A slash separates too, in
// which case ok is false (misc.c, hpdelim).
func cutHostPort(s string) (host, port string, ok bool) {
	end := strings.IndexAny(s, ":/")
	if strings.HasPrefix(s, "[") {
		i := strings.IndexByte(s, ']')
		if i < 0 || i+1 < len(s) && s[i+1] != ':' {
			return "", "", false
		}
		if end = i + 1; end == len(s) {
			end = -1
		}
	}
	if end < 0 {
		return unbracket(s), "", true
	}
	if s[end] == '/' {
		return "", "", false
	}
	return unbracket(s[:end]), s[end+1:], true
}

func unbracket(host string) string {
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}

// jump is the last hop of a ProxyJump and what leads there.
type jump struct {
	user, host string
	port       int // 0 when it is not given
	before     string
}

var errJump = errors.New("not a list of [user@]host[:port] or ssh:// addresses, nor none")

// parseJump reads ProxyJump. On a command line, where a link's text may end up,
// it is strict about characters.
func parseJump(s string, strict bool) (jump, error) {
	s, _, _ = strings.Cut(s, "#")
	s = strings.TrimRight(s, blanks+"\v\f")
	hops := strings.Split(s, ",")
	var last jump
	for _, hop := range slices.Backward(hops) {
		j, ok := parseHop(hop)
		if !ok || strict && (!validHost(j.host) || j.user != "" && !validUser(j.user)) {
			return jump{}, fmt.Errorf("%q is %w", s, errJump)
		}
		if last.host == "" {
			last = j
		}
	}
	last.before = strings.Join(hops[:len(hops)-1], ",")
	return last, nil
}

func parseHop(s string) (j jump, ok bool) {
	if uri, isURI := strings.CutPrefix(s, "ssh://"); isURI {
		return parseURI(uri)
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		if j.user, s = s[:i], s[i+1:]; j.user == "" {
			return j, false
		}
	}
	return j, j.setHostPort(s) == nil
}

func (j *jump) setHostPort(s string) error {
	host, portText, ok := cutHostPort(s)
	if !ok || host == "" {
		return errJump
	}
	j.host = host
	if portText == "" {
		return nil
	}
	n, err := parsePort(portText)
	if err != nil || n == 0 {
		return errJump
	}
	j.port = n
	return nil
}
