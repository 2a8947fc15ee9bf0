package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/sshconfig"
)

// controlCommands are those of -O.
var controlCommands = []string{"check", "forward", "exit", "stop", "cancel", "proxy"}

// setControl reads -M, which twice is ask, and -O.
func (a *sshArgs) setControl(o option) error {
	switch {
	case o.letter == 'M':
		word := "ControlMaster=yes"
		if i := slices.IndexFunc(a.overrides, func(o string) bool { return strings.HasPrefix(o, "ControlMaster=") }); i >= 0 && a.overrides[i] == word {
			word = "ControlMaster=ask" // and the third is as the first
		}
		a.overrides = append([]string{word}, a.overrides...)
	case a.stdio != nil:
		return errControlWithStdio
	case a.control != "":
		return errTwoCommands
	case !slices.Contains(controlCommands, o.value):
		//lint:ignore ST1005 OpenSSH's words
		return fmt.Errorf("Invalid multiplex command. %q is none of %s", o.value, strings.Join(controlCommands, ", "))
	default:
		a.control = o.value
	}
	return nil
}

// Command lines that make no sense, in OpenSSH's words.
var (
	errControlWithStdio = errors.New("Cannot specify multiplexing command with -W") //lint:ignore ST1005 OpenSSH's
	errStdioWithControl = errors.New("Cannot specify stdio forward with -O")        //lint:ignore ST1005 OpenSSH's
	errTwoCommands      = errors.New("Multiplexing command already specified")      //lint:ignore ST1005 OpenSSH's
	errNoControlPath    = errors.New(`No ControlPath specified for "-O" command`)   //lint:ignore ST1005 OpenSSH's
)

// controlPath is where connections are shared; "" is nowhere.
func controlPath(c *sshconfig.Config) string {
	if strings.EqualFold(c.ControlPath, "none") {
		return ""
	}
	return c.ControlPath
}

// errRemoteByProxy is -R with -O proxy: OpenSSH's masters do not say whether the
// server has agreed, nor which port it has chosen.
var errRemoteByProxy = errors.New("-R does not work with -O proxy: have the master listen, with -O forward")

// configureFor is configure, in the second program of ControlPersist without the
// warnings that the first one has told.
func (a *sshArgs) configureFor(conf *sshconfig.Config, bg *background) error {
	if bg != nil && !conf.ForkAfterAuthentication {
		notice := a.Notice
		a.Notice = func(string) {}
		defer func() { a.Notice = notice }()
	}
	return a.configure(conf)
}

// connect makes the connection, or takes that of -O proxy.
func (a *sshArgs) connect(ctx context.Context, conf *sshconfig.Config, cfg *adit.Config) (*adit.Client, error) {
	if a.proxied != nil {
		return adit.NewProxiedClient(a.proxied, conf.User, cfg), nil
	}
	return a.Dial(ctx, cfg)
}
