//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/adit-ssh/adit/agent"
)

// agentGuard is which keys an agent shows, to whom, and who is told.
type agentGuard struct {
	given      []string // as --NAME=VALUE, for the agent in the background
	rules      *agent.Rules
	knownHosts []string
	confirm    bool // --confirm-forwarded
	audit      *agent.AuditFile
	hosts      *agentHosts
}

// option takes one of the long options. Files are read by parse.
func (g *agentGuard) option(name, value string) (err error) {
	switch name {
	case "rules", "known-hosts", "audit":
		if value, err = filepath.Abs(value); err != nil { // the agent's folder is another one
			return fmt.Errorf("--%s: %w", name, err)
		}
	}
	switch name {
	case "allow", "deny":
		if err := g.ruleSet().Add(name == "allow", "--"+name, value); err != nil {
			return fmt.Errorf("--%s %q: %w", name, value, err)
		}
	case "rules":
		content, err := os.ReadFile(value)
		if err != nil {
			return fmt.Errorf("--rules: %w", err)
		}
		if err := g.ruleSet().Read(value, string(content)); err != nil {
			return fmt.Errorf("--rules: %w", err)
		}
	case "known-hosts":
		g.knownHosts = append(g.knownHosts, value)
	case "confirm-forwarded":
		g.confirm = true
		g.given = append(g.given, "--confirm-forwarded")
		return nil
	case "audit":
		if g.audit != nil {
			return fmt.Errorf("--audit %s: there is --audit %s already", value, g.audit.Path)
		}
		g.audit = &agent.AuditFile{Path: value}
	}
	g.given = append(g.given, "--"+name+"="+value)
	return nil
}

func (g *agentGuard) ruleSet() *agent.Rules {
	if g.rules == nil {
		g.rules = &agent.Rules{}
	}
	return g.rules
}

// complete is called when all options were taken.
func (g *agentGuard) complete() error {
	g.hosts = &agentHosts{files: g.knownHosts}
	if g.hosts.files == nil {
		g.hosts.files = defaultKnownHosts()
	}
	for _, f := range g.knownHosts {
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("--known-hosts: %w", err)
		}
	}
	if g.rules != nil {
		g.rules.Hosts = g.hosts
	}
	if g.audit != nil {
		g.audit.Hosts = g.hosts
	}
	return nil
}

// defaultKnownHosts are those of ssh (ssh_config(5), UserKnownHostsFile and
// GlobalKnownHostsFile).
func defaultKnownHosts() []string {
	files := []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	if home, err := os.UserHomeDir(); err == nil {
		files = append([]string{filepath.Join(home, ".ssh/known_hosts"), filepath.Join(home, ".ssh/known_hosts2")}, files...)
	}
	return files
}
