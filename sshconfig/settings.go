package sshconfig

import (
	"fmt"
	"strings"
)

// value is what a line said, in the form in which -G prints it.
type value struct {
	text string
	from Origin
	user bool // from the person's own file or command line, not the system's
	fwd  *Forward
}

// settings is what was said so far, by keyword in lower case.
type settings map[string][]value

// text returns the first value, or "".
func (s settings) text(name string) string {
	if v := s[name]; len(v) > 0 {
		return v[0].text
	}
	return ""
}

func (s settings) texts(name string) []string {
	var all []string
	for _, v := range s[name] {
		all = append(all, v.text)
	}
	return all
}

// replace changes a single value and keeps its origin.
func (s settings) replace(name, text string) {
	if v := s[name]; len(v) > 0 {
		v[0].text = text
	}
}

// line is a line whose keyword is known, while it is read.
type line struct {
	r      *reader
	name   string   // the keyword's own name in lower case
	args   []string // those not yet taken
	rest   string   // all that follows the keyword, as written
	from   Origin
	active bool // the block it stands in applies
	user   bool
}

func (l *line) value(text string) value { return value{text: text, from: l.from, user: l.user} }

// next takes an argument. It may be empty; ok is false when there is none.
func (l *line) next() (arg string, ok bool) {
	if len(l.args) == 0 {
		return "", false
	}
	arg, l.args = l.args[0], l.args[1:]
	return arg, true
}

// need takes an argument that must not be empty.
func (l *line) need() (string, error) {
	if arg, _ := l.next(); arg != "" {
		return arg, nil
	}
	return "", errMissing
}

// set keeps a value unless there is one already.
func (l *line) set(text string) {
	if l.active && len(l.r.s[l.name]) == 0 {
		l.r.s[l.name] = []value{l.value(text)}
	}
}

// setList does the same for all values of a line together.
func (l *line) setList(texts []string) {
	if !l.active || len(l.r.s[l.name]) > 0 {
		return
	}
	for _, t := range texts {
		l.r.s[l.name] = append(l.r.s[l.name], l.value(t))
	}
}

// add appends a value.
func (l *line) add(v value) error {
	if !l.active {
		return nil
	}
	if len(l.r.s[l.name]) >= maxValues {
		return fmt.Errorf("more than %d values", maxValues)
	}
	l.r.s[l.name] = append(l.r.s[l.name], v)
	return nil
}

// takeList takes all arguments. The word alone, such as none, may only be the
// single one.
func (l *line) takeList(alone ...string) ([]string, error) {
	var all []string
	for len(l.args) > 0 {
		arg, _ := l.next()
		if arg == "" {
			return nil, errEmpty
		}
		for _, a := range alone {
			if strings.EqualFold(arg, a) && (len(all) > 0 || len(l.args) > 0) {
				return nil, errAlone(arg)
			}
		}
		all = append(all, arg)
	}
	return all, nil
}
