package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/adit-ssh/adit/dial/ssm"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/sshconfig"
)

// An alias is a host of ssh_config whose way is Session Manager's: by a ProxyCommand
// that is adit ssm, or by a HostName that is a node's id.
//
//	Host db
//	    HostName i-0123456789abcdef0
//	    ProxyCommand adit ssm --profile prod --region eu-west-1 %h %p
//
// `adit ssm db` then means what `ssh db` would run. No command is run for it but those of
// Match exec, and its TARGET is no alias again, so that nothing goes in a circle.

// follow returns what TARGET stands for in the configuration: the alias's options and
// those of the command line, which win, or a itself if TARGET is no alias.
func (a *ssmArgs) follow(ctx context.Context) (*ssmArgs, error) {
	if !a.maybeAlias() {
		return a, nil
	}
	c, err := setup.LoadConfig(ctx, sshconfig.Options{Host: a.options.Target, File: a.file})
	if err != nil {
		return nil, &aliasError{a.options.Target, err}
	}
	return a.followIn(c)
}

// maybeAlias reports whether the configuration is to be asked: not for ids, tags and
// ssm://NAME, which mean the same everywhere, nor for names that are no host's.
func (a *ssmArgs) maybeAlias() bool {
	t := a.options.Target
	return a.set != nil && !a.literal && !ssm.IsID(t) && !strings.Contains(t, "=") && sshconfig.ValidHost(t)
}

// followIn is follow with TARGET's configuration.
func (a *ssmArgs) followIn(c *sshconfig.Config) (*ssmArgs, error) {
	words, err := setup.OwnCommand(c)
	if err != nil {
		return nil, &aliasError{a.options.Target, err}
	}
	switch {
	case len(words) > 0 && words[0] == "ssm":
		words = words[1:]
	case ssm.IsID(c.HostName) && c.ProxyJump == "":
		words = []string{c.HostName, strconv.Itoa(c.Port)}
	default:
		return a, nil
	}
	to, err := a.merge(words)
	if err != nil {
		return nil, &aliasError{a.options.Target, fmt.Errorf("%s: ProxyCommand adit ssm: %w", c.Origin("ProxyCommand"), err)}
	}
	return to, nil
}

// merge reads an alias's words, with what the command line says over them.
func (a *ssmArgs) merge(words []string) (*ssmArgs, error) {
	to := new(ssmArgs)
	f := pflag.NewFlagSet("ssm", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	to.flags(f)
	to.programFlags(f)
	if err := f.Parse(words); err != nil {
		return nil, err
	}
	if to.local != "" {
		return nil, errors.New("--local is for no SSH client")
	}
	rest := f.Args()
	if a.local != "" && len(rest) > 1 {
		rest = rest[:1] // it is for SSH, and so are these
	}
	if a.local != "" {
		to.options.Document, to.parameters = "", nil
	}
	if a.local != "" || a.noInband || a.set.Changed("push-key") {
		to.push = keyPush{way: "off"}
	}
	if a.set.Changed("document") {
		to.parameters = nil
	}
	a.set.Visit(func(own *pflag.Flag) {
		if own.Name != "parameter" {
			f.Set(own.Name, own.Value.String()) // which was good once
		}
	})
	if a.options.Port != 0 && a.remote == "" && len(rest) > 0 {
		rest = []string{rest[0], strconv.Itoa(a.options.Port)}
	}
	if err := to.read(rest); err != nil {
		return nil, err
	}
	to.local = a.local // which is read already
	to.literal = true
	maps.Copy(to.options.Parameters, a.options.Parameters)
	return to, nil
}

// aliases are those whose names begin so, for completion: the name, a tab, and what it
// stands for. Nothing is run for them; what only a Match exec says is left out.
func (a *ssmArgs) aliases(ctx context.Context, begun string) (words []string) {
	load := func(name string) (*sshconfig.Config, error) {
		return setup.LoadConfig(ctx, sshconfig.Options{Host: name, File: a.file,
			Exec: func(context.Context, string) (int, error) { return 1, nil }})
	}
	c, err := load("localhost") // every line that begins a block is read for any host
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	for _, b := range c.Blocks {
		patterns := strings.Fields(b.Text)
		if len(patterns) == 0 || !strings.EqualFold(patterns[0], "host") {
			continue
		}
		for _, name := range patterns[1:] {
			if seen[name] || !strings.HasPrefix(name, begun) || strings.ContainsAny(name, `*?!"`) || ctx.Err() != nil {
				continue
			}
			seen[name] = true
			named := &ssmArgs{set: a.set, file: a.file, options: ssm.Options{Target: name}}
			if !named.maybeAlias() || !ssmTargets().MatchString(name) {
				continue
			}
			if c, err := load(name); err == nil {
				if to, err := named.followIn(c); err == nil && to != named {
					words = append(words, name+"\t"+printable(to.options.Target))
				}
			}
		}
	}
	return words
}

// aliasError is a configuration that does not say what a name stands for.
type aliasError struct {
	name string
	error
}

func (e *aliasError) Unwrap() error { return e.error }

// Hint says how to do without.
func (e *aliasError) Hint() string {
	return fmt.Sprintf("%s is looked for in ssh_config, since it may be an alias there; ssm://%s is a node's name or address for sure", e.name, e.name)
}
