package sshconfig

import (
	"errors"
	"fmt"
	"strings"
)

// complete fills in the defaults and applies what keywords say about each other
// (readconf.c, fill_default_options; ssh.c, main).
func (r *reader) complete(host string) error {
	s := r.s
	if r.o.Stdio {
		r.initial("exitonforwardfailure", "yes")
		r.initial("clearallforwardings", "yes")
	}
	if s.text("clearallforwardings") == "yes" {
		delete(s, "localforward")
		delete(s, "dynamicforward")
		delete(s, "remoteforward")
		delete(s, "tunnel")
	}
	r.updateHostKeys()
	for _, k := range keywords {
		name := lower(k.name)
		if len(s[name]) > 0 || k.initial == "" {
			continue
		}
		texts := []string{k.initial}
		if strings.HasSuffix(name, "file") { // lists of paths
			texts = strings.Fields(k.initial)
		}
		for _, text := range texts {
			s[name] = append(s[name], value{text: text})
		}
	}
	r.initial(rekeyInterval, "0")
	if err := r.assemble(); err != nil {
		return err
	}
	for _, name := range []string{"localcommand", "remotecommand", "proxycommand", "controlpath", "pkcs11provider", "securitykeyprovider", "knownhostscommand"} {
		if strings.EqualFold(s.text(name), "none") {
			delete(s, name)
		}
	}
	r.initial("user", r.o.User)
	r.initial("port", "22")
	r.initial("hostname", host)
	s.replace("hostname", host)
	if r.jumps {
		s["proxyusefdpass"] = []value{{text: "no"}} // a jump is never a passed descriptor
	} else {
		delete(s, "proxyjump")
	}
	s.replace("hostkeyalias", lower(s.text("hostkeyalias")))
	if s.text("updatehostkeys") == "ask" && r.nobodyToAsk() {
		s.replace("updatehostkeys", "false")
	}
	return r.check(host)
}

// initial sets a default.
func (r *reader) initial(name, text string) {
	if len(r.s[name]) == 0 {
		r.s[name] = []value{{text: text}}
	}
}

// updateHostKeys sets the default of UpdateHostKeys: only with the usual files,
// and when DNS is not asked.
func (r *reader) updateHostKeys() {
	if len(r.s["updatehostkeys"]) > 0 {
		return
	}
	files, dns := r.s.texts("userknownhostsfile"), r.s.text("verifyhostkeydns")
	text := "false"
	if (dns == "" || dns == "false") && (len(files) == 0 || len(files) == 1 && files[0] == "~/.ssh/known_hosts") {
		text = "true"
	}
	r.s["updatehostkeys"] = []value{{text: text}}
}

// nobodyToAsk tells when UpdateHostKeys=ask could not ask.
func (r *reader) nobodyToAsk() bool {
	level := r.s.text("loglevel")
	return r.s.text("controlpersist") != "no" && r.s.text("controlpath") != "" ||
		r.o.Command != "" || r.s.text("remotecommand") != "" || r.s.text("requesttty") == "false" ||
		level == "QUIET" || level == "FATAL" || level == "ERROR"
}

// assemble puts the lists of algorithms together.
func (r *reader) assemble() error {
	for i := range algorithmKinds {
		k := &algorithmKinds[i]
		name := lower(k.keyword)
		var v value
		if said := r.s[name]; len(said) > 0 {
			v = said[0]
		}
		if name == "hostkeyalgorithms" {
			r.ordered = v.text != "" && v.text[0] != '+' && v.text[0] != '-'
		}
		all, missing, err := k.assemble(v.text, &r.o.Algorithms)
		if err != nil {
			return lineError(v.from, name, err)
		}
		if len(missing) > 0 {
			r.warn(v.from, fmt.Sprintf("%s: not supported here, left out: %s", name, strings.Join(missing, ", ")))
		}
		v.text = strings.Join(all, ",")
		r.s[name] = []value{v}
	}
	return nil
}

// check refuses what can't be used together.
func (r *reader) check(host string) error {
	if err := r.checkJump(host); err != nil {
		return err
	}
	s := r.s
	fail := func(name string, err error) error { return lineError(s[name][0].from, name, err) }
	switch {
	case s.text("proxycommand") == "-" && s.text("proxyusefdpass") == "yes":
		return fail("proxyusefdpass", errors.New("it can't be used with ProxyCommand -"))
	case s.text("connectionattempts") == "0":
		return fail("connectionattempts", errors.New("at least 1 is due"))
	case r.o.Command != "" && s.text("remotecommand") != "":
		return fail("remotecommand", withHint{errors.New("there is a command on the command line too"), "add -o RemoteCommand=none"})
	case s.text("forkafterauthentication") == "yes" && r.o.Command == "" && s.text("remotecommand") == "" && s.text("sessiontype") != "none":
		return fail("forkafterauthentication", errors.New("there is no command to run in the background"))
	}
	return nil
}
