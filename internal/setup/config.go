package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/adit-ssh/adit/internal/algo"
	"github.com/adit-ssh/adit/sshconfig"
)

// LoadConfig reads the person's and the system's ssh_config for a host. It fills
// in what our engine has and where home is; as everywhere in adit that is $HOME,
// while OpenSSH asks the user database.
func LoadConfig(ctx context.Context, o sshconfig.Options) (*sshconfig.Config, error) {
	if o.Home == "" {
		o.Home = home()
	}
	keys := sshconfig.AlgorithmList{Default: algo.DefaultHostKeys(), Supported: algo.SupportedHostKeys()}
	noCerts := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.Contains(n, "-cert-v01@") })
	}
	o.Algorithms = sshconfig.Algorithms{
		Ciphers:      sshconfig.AlgorithmList{Default: algo.DefaultCiphers(), Supported: algo.SupportedCiphers()},
		MACs:         sshconfig.AlgorithmList{Default: algo.DefaultMACs(), Supported: algo.SupportedMACs()},
		Kex:          sshconfig.AlgorithmList{Default: algo.DefaultKex(), Supported: algo.SupportedKex()},
		HostKeys:     keys,
		CASignatures: sshconfig.AlgorithmList{Default: noCerts(keys.Default), Supported: noCerts(keys.Supported)},
	}
	return sshconfig.Load(ctx, o)
}

// UnsupportedError is a keyword that says where or how to connect in a way that
// is not there yet. To go on without it would be to do something else.
type UnsupportedError struct {
	Keyword string
	Origin  sshconfig.Origin
	Why     string
	Hint    string // how to connect all the same
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Origin, e.Keyword, e.Why)
}

// Apply takes over what a configuration says. What can't be obeyed is an
// UnsupportedError.
func (o *Options) Apply(c *sshconfig.Config) error {
	if o.LookOnly {
		c = lookOnly(c)
	}
	if err := errors.Join(c.Check(), unsupported(c)); err != nil {
		return err
	}
	for _, w := range c.Warnings {
		o.notice("warning: " + w.String())
	}
	for _, v := range c.Values() {
		if v.Keyword == "WarnWeakCrypto" && v.Origin != (sshconfig.Origin{}) {
			o.WarnWeak = v.Text == "yes" || v.Text == "true"
		}
	}
	o.Host, o.User, o.Port = c.HostName, c.User, c.Port
	o.AddressFamily = networks[c.AddressFamily]
	o.BindAddress, o.NoTCPKeepAlive = c.BindAddress, !c.TCPKeepAlive
	if err := o.Route.apply(c); err != nil {
		return err
	}
	o.ConnectTimeout = c.ConnectTimeout
	if len(c.ChannelTimeouts) > 0 {
		o.ChannelTimeout = c.ChannelTimeout
	}
	o.AliveInterval, o.AliveCountMax = c.ServerAliveInterval, c.ServerAliveCountMax
	if o.AliveCountMax == 0 {
		o.AliveCountMax = -1
	}
	o.Kex, o.Ciphers, o.MACs = c.KexAlgorithms, c.Ciphers, c.MACs
	o.RekeyBytes, o.RekeyInterval = c.RekeyLimit, c.RekeyInterval
	o.Compression = c.Compression
	o.VersionAddendum = c.VersionAddendum

	o.StrictHostKey, o.HostKeyAlias, o.HashKnown = c.StrictHostKeyChecking, c.HostKeyAlias, c.HashKnownHosts
	o.applyHostKeys(c)
	// Defaults stay nil: messages name them shorter, and a default that is
	// missing is not worth one.
	given := func(keyword string) bool { return c.Origin(keyword) != sshconfig.Origin{} }
	if given("HostKeyAlgorithms") {
		o.HostKeyAlgorithms = c.HostKeyAlgorithms
		o.KeepHostKeyOrder = c.HostKeyOrder
	}
	if given("PubkeyAcceptedAlgorithms") {
		o.KeyAlgorithms = c.PubkeyAcceptedAlgorithms
	}
	if given("UserKnownHostsFile") {
		o.KnownHosts = orNone(c.UserKnownHostsFiles)
	}
	if given("GlobalKnownHostsFile") {
		o.GlobalKnownHosts = orNone(c.GlobalKnownHostsFiles)
	}
	if given("IdentityFile") {
		o.IdentityFiles = orNone(c.IdentityFiles)
	}
	o.RevokedHostKeys = c.RevokedHostKeys
	o.CertificateFiles = c.CertificateFiles
	o.IdentitiesOnly, o.AddKeys = c.IdentitiesOnly, c.AddKeysToAgent
	o.IdentityAgent, o.ForwardAgent = c.IdentityAgent, c.ForwardAgent
	if name, ok := strings.CutPrefix(c.IdentityAgent, "$"); ok { // the older form
		o.IdentityAgent = cmp.Or(os.Getenv(name), "none")
	}
	o.BatchMode, o.Tries, o.RSABits = c.BatchMode, c.NumberOfPasswordPrompts, c.RequiredRSASize
	if o.Tries == 0 {
		o.Tries = -1
	}
	o.Methods = c.PreferredAuthentications
	may := func(method string) bool {
		return c.PreferredAuthentications == nil || slices.Contains(c.PreferredAuthentications, method)
	}
	o.NoPublicKey = c.PubkeyAuthentication == "no" || !may("publickey")
	o.Unbound = c.PubkeyAuthentication == "unbound"
	o.NoPassword = !c.PasswordAuthentication || !may("password")
	o.NoKbdint = !c.KbdInteractiveAuthentication || !may("keyboard-interactive")
	return nil
}

// orNone keeps an empty list from being taken for the default.
func orNone(files []string) []string {
	if len(files) == 0 {
		return []string{"none"}
	}
	return files
}

// unsupported finds what we can't obey and must not ignore.
func unsupported(c *sshconfig.Config) error {
	for _, k := range []struct {
		keyword string
		set     bool
		why     string
		hint    string
	}{
		{"Tunnel", tunnels(c), "network tunnels are not there", "to go without one: -o Tunnel=no"},
	} {
		if k.set {
			return &UnsupportedError{k.keyword, c.Origin(k.keyword), k.why, k.hint}
		}
	}
	return nil
}

func tunnels(c *sshconfig.Config) bool {
	return slices.ContainsFunc(c.Values(), func(v sshconfig.Value) bool { return v.Keyword == "Tunnel" && v.Text != "false" })
}
