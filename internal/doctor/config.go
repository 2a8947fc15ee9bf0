package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/sshconfig"
)

// matters are the keywords that are shown where something sets them.
var matters = []string{"HostName", "Port", "User", "AddressFamily", "BindAddress", "BindInterface", "ProxyCommand", "ProxyJump", "ProxyUseFdpass",
	"IdentityFile", "CertificateFile", "IdentitiesOnly", "IdentityAgent", "PreferredAuthentications", "PubkeyAuthentication",
	"PubkeyAcceptedAlgorithms", "UserKnownHostsFile", "GlobalKnownHostsFile", "HostKeyAlias", "HostKeyAlgorithms", "StrictHostKeyChecking",
	"KnownHostsCommand", "RevokedHostKeys", "KexAlgorithms", "Ciphers", "MACs", "ConnectTimeout", "ServerAliveInterval", "ServerAliveCountMax",
	"LocalForward", "DynamicForward", "RemoteForward"}

// checkConfig reads the configuration and turns it into a connection's. It
// reports whether there is one.
func (e *exam) checkConfig(ctx context.Context) bool {
	began := time.Now()
	c := Check{Stage: StageConfig}
	fail := func(err error) bool {
		c.Status, c.Took, c.Text = Failed, time.Since(began), oneLine(err.Error())
		c.Meaning = "the configuration can't be used as it is, so nothing is connected to"
		if line, ok := errors.AsType[*sshconfig.LineError](err); ok {
			c.Fix = line.Hint
		}
		if u, ok := errors.AsType[*setup.UnsupportedError](err); ok {
			c.Fix = u.Hint
		}
		if c.Fix == "" {
			c.Fix = "mend that line; adit config explain " + e.o.SSH.Host + " shows what holds and why"
		}
		e.add(c)
		return false
	}
	var err error
	if e.conf, err = setup.LoadConfig(ctx, e.o.SSH); err != nil {
		return fail(err)
	}
	e.describe(&c)
	e.r.Target = e.conf.User + "@" + net.JoinHostPort(e.conf.HostName, strconv.Itoa(e.conf.Port))
	e.address = net.JoinHostPort(e.conf.HostName, strconv.Itoa(e.conf.Port))
	e.limit = defaultPatience
	if d := e.conf.ConnectTimeout; d > 0 && (d < e.limit || e.o.GUI == nil) {
		e.limit = d
	}
	e.set = setup.Options{LookOnly: true, Notice: func(text string) { e.notices = append(e.notices, oneLine(text)) }, Tracer: e.events}
	e.set.Route.File = e.o.SSH.File
	err = e.set.Apply(e.conf)
	if err == nil && e.o.Complete != nil {
		err = e.o.Complete(&e.set)
	}
	if err == nil {
		e.cfg, err = e.set.Config()
	}
	if err != nil {
		return fail(err)
	}
	c.Took = time.Since(began)
	if c.Status = OK; len(e.notices) > 0 {
		c.Status, c.Meaning = Warning, strings.Join(e.notices, "; ")
		e.notices = nil
	}
	e.add(c)
	return true
}

// describe tells what was set and where.
func (e *exam) describe(c *Check) {
	var files []string
	for _, v := range e.conf.Values() {
		o := v.Origin
		if o.File != "" && !slices.Contains(files, o.File) {
			files = append(files, o.File)
		}
		if o != (sshconfig.Origin{}) && slices.Contains(matters, v.Keyword) {
			c.Details = append(c.Details, oneLine(fmt.Sprintf("%s %s (%s)", v.Keyword, withoutLogins(v.Text), o)))
		}
	}
	if c.Text = strings.Join(files, ", "); len(files) == 0 {
		c.Text = "no file says anything about this host"
	}
}

// logins are those in URLs, as proxies have them: people show reports to others.
var logins = regexp.MustCompile(`(\b[a-z][a-z0-9+.-]*://[^\s:/@'"]*):[^\s'"]*@`)

// withoutLogins takes the passwords out of URLs.
func withoutLogins(s string) string { return logins.ReplaceAllString(s, "$1:***@") }
