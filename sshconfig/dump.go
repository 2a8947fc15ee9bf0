package sshconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// dump lists all that holds in the order of readconf.c's dump_client_config.
func (r *reader) dump() []Value {
	all := []Value{{Keyword: "Host", Text: r.o.Host, Origin: Origin{CommandLine: true}}}
	for _, k := range keywords {
		name := lower(k.name)
		said := r.s[name]
		if len(said) == 0 {
			continue
		}
		switch {
		case k.form == oneLine:
			all = append(all, Value{k.name, strings.Join(r.s.texts(name), " "), said[0].from})
			continue
		case name == "rekeylimit":
			said = []value{{text: said[0].text + " " + r.s.text(rekeyInterval), from: said[0].from}}
		case name == "forwardagent" && len(r.s[forwardAgentPath]) > 0:
			said = r.s[forwardAgentPath]
		case name == "proxycommand" && r.jumps:
			continue
		}
		for _, v := range said {
			text := v.text
			if v.fwd != nil {
				text = v.fwd.listen()
				if name != "dynamicforward" {
					text += " " + v.fwd.target()
				}
			}
			all = append(all, Value{k.name, text, v.from})
		}
	}
	return all
}

// expandLate expands what ssh expands only after -G, so a mistake in it is one
// for Check.
func (r *reader) expandLate(c *Config) {
	var errs []error
	path := func(name string, list []string, withTokens bool) {
		for i, p := range list {
			if strings.EqualFold(p, "none") {
				continue
			}
			var err error
			if withTokens {
				list[i], err = r.expandPath(p, c.tokens)
			} else {
				list[i], err = r.tilde(p)
			}
			if err != nil {
				from := Origin{}
				if j := slices.IndexFunc(r.s[name], func(v value) bool { return v.text == p }); j >= 0 {
					from = r.s[name][j].from
				}
				errs = append(errs, lineError(from, name, err))
			}
		}
	}
	path("identityfile", c.IdentityFiles, true)
	path("certificatefile", c.CertificateFiles, true)
	path("globalknownhostsfile", c.GlobalKnownHostsFiles, false)
	for i := range algorithmKinds {
		k := &algorithmKinds[i]
		if v := r.s[lower(k.keyword)][0]; v.text == "" {
			errs = append(errs, lineError(v.from, lower(k.keyword), fmt.Errorf("no algorithm is left")))
		}
	}
	c.late = errors.Join(errs...)
}
