package setup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/testpeer"
	"github.com/adit-ssh/adit/sshconfig"
)

// options are what a configuration makes for the host db.
func options(t *testing.T, text string) (*Options, *[]string, error) {
	t.Helper()
	home := t.TempDir()
	path := filepath.Join(home, "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(t.Context(), sshconfig.Options{Host: "db", File: path, Home: home})
	if err != nil {
		t.Fatal(err)
	}
	var notices []string
	o := &Options{Notice: func(text string) { notices = append(notices, strings.ReplaceAll(text, home, "HOME")) }}
	err = o.Apply(c)
	return o, &notices, err
}

// A person's ~/.ssh/config is all that is needed to log in.
func TestAliasLogsIn(t *testing.T) {
	testpeer.Need(t, "sshd")
	s := testpeer.SSHD(t, testpeer.SSHDOptions{HostKeys: []string{"ecdsa", "ed25519"}})
	o, notices, err := options(t, fmt.Sprintf(`
Host other
	Port 1
Host d?
	HostName %s
	Port %d
	User %s
	HostKeyAlias %%h-alias
	AddressFamily inet
	ServerAliveInterval 1m
Match host %s exec "test %%p = %d"
	IdentityFile %s
	IdentitiesOnly yes
	IdentityAgent none
	UserKnownHostsFile "%s"
	StrictHostKeyChecking accept-new
	BatchMode yes
`, s.Host(), s.Port(), s.User, s.Host(), s.Port(), s.Key.Path, filepath.Join(t.TempDir(), "known hosts")))
	if err != nil || len(*notices) > 0 {
		t.Fatal(err, *notices)
	}
	for range 2 { // the key is learned, and then known
		target, err := o.Target()
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := o.Config()
		if err != nil {
			t.Fatal(err)
		}
		c, err := adit.Dial(t.Context(), target, cfg)
		if err != nil {
			t.Fatalf("%v; told: %q", err, *notices)
		}
		c.Close()
	}
	b, err := os.ReadFile(o.KnownHosts[0])
	if err != nil || !strings.HasPrefix(string(b), "%h-alias ") || bytes.Count(b, []byte("\n")) != 1 {
		t.Errorf("known_hosts: got %q, %v, want one line for the alias", b, err)
	}
}

func TestApply(t *testing.T) {
	o, notices, err := options(t, `
User ann
Port 2222
HostName 192.0.2.1
AddressFamily inet6
BindAddress 192.0.2.9
TCPKeepAlive no
ConnectTimeout 7
ServerAliveInterval 30
ServerAliveCountMax 0
RekeyLimit 1M 10m
Ciphers aes256-ctr,aes128-cbc
StrictHostKeyChecking off
UserKnownHostsFile none
GlobalKnownHostsFile /g
HashKnownHosts yes
IdentityFile none
IdentityAgent $NO_SUCH_AGENT
PreferredAuthentications publickey
RemoteForward 1 a:2
UseKeychain yes
LocalCommand true
`)
	if err != nil {
		t.Fatal(err)
	}
	if o.User != "ann" || o.Port != 2222 || o.Host != "192.0.2.1" || o.AddressFamily != "tcp6" || o.BindAddress != "192.0.2.9" || !o.NoTCPKeepAlive {
		t.Errorf("where: got %+v", o)
	}
	if o.ConnectTimeout != 7*time.Second || o.AliveInterval != 30*time.Second || o.AliveCountMax >= 0 || o.RekeyBytes != 1<<20 || o.RekeyInterval != 10*time.Minute {
		t.Errorf("times: got %+v", o)
	}
	if !slices.Equal(o.Ciphers, []string{"aes256-ctr"}) || o.HostKeyAlgorithms != nil {
		t.Errorf("algorithms: got %v and %v, want aes256-ctr, and host keys in the order of known_hosts", o.Ciphers, o.HostKeyAlgorithms)
	}
	if o.StrictHostKey != "no" || !slices.Equal(o.KnownHosts, []string{"none"}) || !slices.Equal(o.GlobalKnownHosts, []string{"/g"}) || !o.HashKnown {
		t.Errorf("host keys: got %+v", o)
	}
	if !slices.Equal(o.IdentityFiles, []string{"none"}) || o.IdentityAgent != "none" || o.NoPublicKey || !o.NoPassword || !o.NoKbdint {
		t.Errorf("login: got %+v", o)
	}
	want := []string{
		"warning: HOME/config:21: usekeychain is known only to some systems' own ssh and has no effect here",
		"warning: HOME/config:12: ciphers: not supported here, left out: aes128-cbc",
	}
	slices.Sort(want)
	slices.Sort(*notices)
	if !slices.Equal(*notices, want) {
		t.Errorf("notices: got %q, want %q", *notices, want)
	}
}

func TestForwardsOfTheConfiguration(t *testing.T) {
	c, err := LoadConfig(t.Context(), sshconfig.Options{Host: "db", File: "none", Home: "/", CommandLine: []string{
		"LocalForward 1 a:2", "LocalForward :3 [::1]:4", "LocalForward /s /t", "DynamicForward *:5",
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range Forwards(c) {
		got = append(got, s.String())
	}
	if want := []string{"1:a:2", "*:3:[::1]:4", "/s:/t", "*:5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What would lead elsewhere, or trust more, is an error with its place.
func TestWhatCanNotBeObeyed(t *testing.T) {
	for _, line := range []string{"Tunnel yes"} {
		_, _, err := options(t, "Host *\n"+line+"\n")
		e, ok := errors.AsType[*UnsupportedError](err)
		if keyword, _, _ := strings.Cut(line, " "); !ok || e.Keyword != keyword || e.Origin.Line != 2 {
			t.Errorf("%s: got %v, want an error that names line 2", line, err)
		}
	}
	if _, _, err := options(t, "IdentityFile %x\n"); err == nil || !strings.Contains(err.Error(), "config:1: identityfile: %x") {
		t.Errorf("a token that means nothing: got %v", err)
	}
}
