package main

import (
	"context"
	"errors"
	"strings"

	"github.com/adit-ssh/adit/internal/setup"
)

// proxyOption reads -o AditProxy=…: ssh_config has no word for a proxy of this kind.
func proxyOption(option string) (proxy string, ok bool) { return ownOption(option, "AditProxy") }

// ownOption reads -o NAME=…, which is adit's own. It stands on the command line only,
// for ssh would refuse a file that has it.
func ownOption(option, name string) (value string, ok bool) {
	if len(option) <= len(name) || !strings.EqualFold(option[:len(name)], name) {
		return "", false
	}
	value = strings.TrimLeft(option[len(name):], " \t")
	if value == option[len(name):] && !strings.HasPrefix(value, "=") {
		return "", false
	}
	return strings.TrimSpace(strings.TrimPrefix(value, "=")), true
}

// throughProxy sets the proxy that -o AditProxy names, as `adit connect -x` does.
// The configuration was applied, so that o.Host is the server's name.
func (a *sshArgs) throughProxy(ctx context.Context, o *setup.Options) error {
	if a.proxy == "" || strings.EqualFold(a.proxy, "none") {
		return nil
	}
	if o.Route.Jump != "" || o.Route.Command != "" {
		return errTwoWays
	}
	w := new(way)
	if err := (&connectArgs{proxy: a.proxy}).through(w, o.Host); err != nil {
		return &usageError{"ssh", err}
	}
	if w.Proxy == "" { // "env", and the environment names none
		return nil
	}
	if err := w.login(ctx); err != nil {
		return err
	}
	p, err := w.proxy()
	if err == nil {
		o.Proxy = &p
	}
	return err
}

var errTwoWays = &usageError{"ssh", errors.New("AditProxy is one way to the server, and ProxyCommand or ProxyJump another: leave one out, or add -o ProxyCommand=none")}
