package agent

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	gossh "golang.org/x/crypto/ssh"
)

// Rules hide keys: a key that is hidden is neither listed nor used, removed or
// replaced. The first rule that applies decides. If none does, a key is hidden if
// there is any rule that allows, and else is not.
//
// A rule has conditions NAME=VALUE, separated by spaces, all of which must hold:
//
//	key        fingerprint, SHA256:…; a certificate has that of its key
//	type       ssh-ed25519, ssh-rsa-cert-v01@openssh.com…
//	comment    of the key; where several agents have it and call it otherwise, any
//	           of them is reason to refuse it, and the first's alone to allow it
//	user       who logs in with the signature
//	host       where, by a name that Hosts knows, or by the host key's SHA256:…
//	via        the hosts over which the request comes, a>b, the nearest first; "..."
//	           is any number of them, "." is none: the request comes from here
//	namespace  of a signature by ssh-keygen -Y: git, file…
//
// A value is one of several, separated by commas, with * for any characters and ?
// for one, but for key. One with spaces stands in double quotes.
//
// What can't be known is no reason to allow a signature, and may be one to refuse
// it: before a rule that refuses some host, a login at a host that Hosts does not
// know is refused. Where a key is to be used is not known when it is listed: it is
// shown if there is a use for which it may be.
//
// A program that lists or signs over a connection that nobody has bound looks as if
// it were here. The nearest host is proven; each vouches for those behind it, and can
// make the way look longer than it is.
//
// Rules are made before their first use, and not changed any more.
type Rules struct {
	// Hosts names hosts by their keys. Nil: no names are known.
	Hosts Hosts

	rules  []rule
	allows bool // there is one that allows
}

// Hosts is what is known about hosts by their keys or certificates, in wire form.
type Hosts interface {
	// Names returns a host's names, as known_hosts has them. more says that there are
	// others which can't be told, such as hashed ones. Without names and more nothing
	// is known about the host.
	Names(hostKey []byte) (names []string, more bool)
	// Is says whether a name is the host's.
	Is(hostKey []byte, name string) bool
}

// rule is one of Rules.
type rule struct {
	allow      bool
	text       string // with where it comes from
	conditions []condition
}

// condition is one of a rule.
type condition struct {
	name   string
	values []string   // one of which must fit
	paths  [][]string // instead of values, for via
}

// Names of conditions, in the order in which people are told of them.
var conditionNames = []string{"key", "type", "comment", "user", "host", "via", "namespace"}

// knownTypes are those that a condition without wildcards may name.
var knownTypes = []string{
	gossh.KeyAlgoED25519, gossh.KeyAlgoRSA, gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521, gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKECDSA256,
	gossh.CertAlgoED25519v01, gossh.CertAlgoRSAv01, gossh.CertAlgoECDSA256v01, gossh.CertAlgoECDSA384v01, gossh.CertAlgoECDSA521v01,
	gossh.CertAlgoSKED25519v01, gossh.CertAlgoSKECDSA256v01, "ssh-dss",
}

// Add adds a rule. where says where it comes from, such as --deny; the rule is told
// of with it.
func (r *Rules) Add(allow bool, where, text string) error {
	words, err := splitRule(text)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("a condition is due, such as host=example.com; type=* is any key")
	}
	one := rule{allow: allow, text: where + " " + strings.TrimSpace(text)}
	for _, w := range words {
		c, err := parseCondition(w)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(one.conditions, func(o condition) bool { return o.name == c.name }) {
			return fmt.Errorf("%s= stands twice: all conditions must hold, and alternatives are separated by commas", c.name)
		}
		one.conditions = append(one.conditions, c)
	}
	r.rules = append(r.rules, one)
	r.allows = r.allows || allow
	return nil
}

// Read adds the rules of a file: a line each, which begins with allow or deny. Empty
// lines are skipped, and those that begin with #.
func (r *Rules) Read(file, content string) error {
	n := 0
	for line := range strings.Lines(content) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		where := fmt.Sprintf("%s:%d", file, n)
		word, rest := line, ""
		if i := strings.IndexFunc(line, unicode.IsSpace); i >= 0 {
			word, rest = line[:i], line[i:]
		}
		if word != "allow" && word != "deny" {
			return fmt.Errorf("%s: %.64q: allow or deny is due", where, word)
		}
		if err := r.Add(word == "allow", where+" "+word, rest); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	return nil
}

// splitRule splits at spaces that are not between double quotes.
func splitRule(text string) (words []string, err error) {
	var word strings.Builder
	quoted, begun := false, false
	for _, c := range text {
		switch {
		case c == '"':
			quoted, begun = !quoted, true
		case unicode.IsSpace(c) && !quoted:
			if begun {
				words = append(words, word.String())
				word.Reset()
			}
			begun = false
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if quoted {
		return nil, errors.New(`a " lacks its other`)
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

func parseCondition(word string) (c condition, err error) {
	name, value, found := strings.Cut(word, "=")
	switch {
	case !found:
		return c, fmt.Errorf("%.64q: a condition has the form NAME=VALUE; the names are %s", word, strings.Join(conditionNames, ", "))
	case !slices.Contains(conditionNames, name):
		return c, fmt.Errorf("%.64q is no condition; there are %s", name, strings.Join(conditionNames, ", "))
	}
	c.name, c.values = name, strings.Split(value, ",")
	for i, v := range c.values {
		if v == "" {
			return c, fmt.Errorf("%s=%s: a value is empty", name, value)
		}
		switch name {
		case "key":
			err = checkFingerprint(v)
		case "type":
			if !strings.ContainsAny(v, "*?") && !slices.Contains(knownTypes, v) {
				err = fmt.Errorf("no key has this type; types are such as %s, or patterns such as *rsa*", gossh.KeyAlgoED25519)
			}
		case "host":
			c.values[i], err = parseHost(v)
		case "via":
			var path []string
			path, err = parsePath(v)
			c.paths = append(c.paths, path)
		}
		if err != nil {
			return c, fmt.Errorf("%s=%.64s: %w", name, v, err)
		}
	}
	return c, nil
}

const fingerprintPrefix = "SHA256:"

func checkFingerprint(v string) error {
	b64, found := strings.CutPrefix(v, fingerprintPrefix)
	sum, err := base64.RawStdEncoding.DecodeString(b64)
	if !found || err != nil || len(sum) != sha256.Size {
		return errors.New("a fingerprint is due, SHA256: and 43 letters, as ssh-add -l shows it")
	}
	return nil
}

// parseHost returns a pattern of hosts as they are compared: known_hosts knows no
// upper case.
func parseHost(v string) (string, error) {
	if strings.HasPrefix(v, fingerprintPrefix) {
		return v, checkFingerprint(v)
	}
	return strings.ToLower(v), nil
}

// anyHops stands for any number of hosts in a path.
const anyHops = "..."

func parsePath(v string) ([]string, error) {
	if v == "." {
		return []string{}, nil
	}
	path := strings.Split(v, ">")
	for i, hop := range path {
		switch {
		case hop == "" || hop == ".":
			return nil, errors.New("hosts are separated by >, and . stands alone, for none of them")
		case hop == anyHops:
			continue
		}
		var err error
		if path[i], err = parseHost(hop); err != nil {
			return nil, err
		}
	}
	return path, nil
}
