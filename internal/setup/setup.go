// Package setup turns what a person typed and the files in their home into an
// adit.Config: identity files and agent, known_hosts and the questions about
// unknown keys. It is the only package that knows all of these.
//
// Options is a command line's content; Options.Config does the work.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/knownhosts"
	"github.com/adit-ssh/adit/sshconfig"
	"github.com/adit-ssh/adit/trace"
)

// Prompter asks a person. ok is false when there is nobody to ask.
type Prompter interface {
	Ask(ctx context.Context, question string, echo bool) (answer string, ok bool, err error)
}

// Options is what a command line says.
type Options struct {
	Host, User    string
	Port          int
	IdentityFiles []string
	// CertificateFiles are certificates of keys in files or in the agent.
	CertificateFiles []string
	IdentityAgent    string // socket, "none", or "" for SSH_AUTH_SOCK
	ForwardAgent     string // yes, no, a socket or $NAME; "" is no
	StrictHostKey    string // yes, no, ask, accept-new; "" is ask
	KnownHosts       []string
	// RevokedHostKeys are lists of keys that no server may show.
	RevokedHostKeys []string
	HostKeyAlias    string
	// AddKeys is AddKeysToAgent: yes, no, ask, confirm, seconds, or confirm and
	// seconds. "" is no.
	AddKeys string
	// IdentitiesOnly leaves out the agent's keys that no identity file names.
	IdentitiesOnly   bool
	GlobalKnownHosts []string // nil: the system's
	HashKnown        bool
	BatchMode        bool
	NoPublicKey      bool
	Unbound          bool // PubkeyAuthentication unbound
	NoPassword       bool
	NoKbdint         bool
	Methods          []string // order of authentication; nil: the usual one
	KeyAlgorithms    []string // of signatures; nil: all that are safe
	Tries            int      // of passwords; 0: 3, negative: none
	RSABits          int      // smallest RSA key of ours or of a server, bits

	// WarnWeak warns of key exchanges that are not post-quantum. A configuration
	// has to say so (WarnWeakCrypto yes): it is the default of OpenSSH since 10.1,
	// but we lack the sntrup761 that sshd 9 offers, so that the warning would
	// blame the server for us.
	WarnWeak bool

	ConnectTimeout time.Duration
	ChannelTimeout func(channelType string) time.Duration // see adit.Config
	AliveInterval  time.Duration
	AliveCountMax  int
	AddressFamily  string // "tcp", "tcp4", "tcp6"
	BindAddress    string // local address or name to connect from
	NoTCPKeepAlive bool   // TCPKeepAlive no
	Route          Route  // the way to the server
	// Proxy leads to the server where Route has neither a command nor a jump host;
	// nil is the direct way. Its Forward is set by Config, and obeys AddressFamily
	// and the rest.
	Proxy *dial.Proxy

	Kex, Ciphers, MACs, HostKeyAlgorithms []string
	// KeepHostKeyOrder says that HostKeyAlgorithms is not to be sorted by what
	// known_hosts has.
	KeepHostKeyOrder bool
	RekeyBytes       uint64
	RekeyInterval    time.Duration
	Compression      bool
	VersionAddendum  string

	// LookOnly connects without a trace of it, also at jump hosts: Apply turns
	// off all that would ask, accept or write, and nothing is remembered.
	LookOnly bool

	// KeepKeys keeps the keys of files as the login leaves them, for further logins
	// with these Options or a copy: nobody is asked for a passphrase twice.
	KeepKeys bool

	Prompter Prompter
	Notice   func(text string) // warnings for the person, printable
	// Say shows what stands for itself, printable: the server's texts, and the
	// lines that people know from OpenSSH. level is that of LogLevel: FATAL, ERROR,
	// INFO or VERBOSE. Nil is Notice for all but the last.
	Say    func(level, text string)
	Tracer trace.Tracer
	KeyLog io.Writer // adit.Config.KeyLog

	HostKeyOptions

	hostKeys  *hostKeys        // of the last Config
	kept      []*keyFile       // of the last login, with KeepKeys
	passwords int              // how many were asked for
	forwarder *agent.Forwarder // of AgentForwarder
	agentGone bool             // nobody listens where an agent might have
}

// home is the person's home folder: $HOME, else what the user database says, as
// for OpenSSH. Never the current folder, whose .ssh may be anybody's.
func home() string {
	if h, err := os.UserHomeDir(); err == nil {
		return h
	}
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		return u.HomeDir
	}
	return string(filepath.Separator)
}

// Expand puts the home folder in place of a leading ~.
func Expand(path string) string {
	if path == "~" || strings.HasPrefix(path, "~/") {
		return filepath.Join(home(), path[1:])
	}
	return path
}

// Target returns user@host:port for adit.Dial.
func (o *Options) Target() (string, error) {
	if o.Host == "" {
		return "", errors.New("no host is given")
	}
	name := o.User
	if name == "" {
		u, err := sshconfig.Me()
		if err != nil {
			return "", fmt.Errorf("who are you: %w", err)
		}
		name = u.Username
	}
	port := o.Port
	if port == 0 {
		port = 22
	}
	return name + "@" + net.JoinHostPort(o.Host, strconv.Itoa(port)), nil
}

// Config makes the configuration of a connection.
func (o *Options) Config() (*adit.Config, error) {
	files, global := o.KnownHosts, o.GlobalKnownHosts
	if files == nil {
		files = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	}
	if global == nil {
		global = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	}
	check := &hostKeys{o: o, user: hostFiles(files), global: hostFiles(global)}
	o.hostKeys = check
	db, err := knownhosts.Load(slices.Concat(check.user, check.global)...)
	if err != nil { // for OpenSSH such files are empty, without a word
		o.notice("warning: " + err.Error())
	}
	o.skipped(db.Warnings)
	var lists []string
	for _, f := range o.RevokedHostKeys {
		lists = append(lists, Expand(f))
	}
	revoked, err := knownhosts.LoadRevoked(lists...)
	if err != nil {
		return nil, err
	}
	db.CASignatures = o.CASignatures
	check.db, check.ordered, check.revoked = db, db, revoked
	cfg := &adit.Config{
		CheckHostKey:      check.check,
		HostKeyAlgorithms: o.hostKeyAlgorithms(),
		KeyAlgorithms:     o.KeyAlgorithms,
		Unbound:           o.Unbound,
		ChannelTimeout:    o.ChannelTimeout,
		Methods:           o.Methods,
		Tries:             o.Tries,
		ConnectTimeout:    o.ConnectTimeout,
		AliveInterval:     o.AliveInterval,
		AliveCountMax:     o.AliveCountMax,
		Kex:               o.Kex, Ciphers: o.Ciphers, MACs: o.MACs,
		RekeyBytes: o.RekeyBytes, RekeyInterval: o.RekeyInterval, Compression: o.Compression,
		VersionAddendum: o.VersionAddendum,
		Tracer:          o.Watched(o.Tracer),
		KeyLog:          o.KeyLog,
		Banner:          func(text string) { o.say(levelInfo, "%s", printable(text)) },
	}
	if !o.KeepHostKeyOrder {
		if check.ordered, err = check.command(db, "ORDER", strings.ToLower(o.Host), nil); err != nil {
			return nil, err
		}
		cfg.HostKeyAlgorithms = check.ordered.Algorithms(check.name(o.address()), cfg.HostKeyAlgorithms)
	}
	if len(check.user) > 0 && (o.UpdateHostKeys == "yes" || o.UpdateHostKeys == "ask" && o.asks()) {
		cfg.ServerKeys = check.follow
	}
	cfg.Expect, cfg.Unexpected = o.expect(check, cfg), o.unexpected
	cfg.Dial = o.dialer()
	if o.Direct() {
		cfg.Dial = check.notePeer(cfg.Dial)
	}
	if !o.NoPublicKey {
		cfg.Keys = o.keys
	}
	if o.asks() {
		if !o.NoPassword {
			cfg.Password, cfg.NewPassword = o.password, o.newPassword
		}
		if !o.NoKbdint {
			cfg.Answer = o.answer
		}
	}
	return cfg, nil
}

// address is the host's as it is dialled, before its name is looked up.
func (o *Options) address() string { return net.JoinHostPort(o.Host, strconv.Itoa(max(o.Port, 0))) }

func (o *Options) notice(text string) {
	if o.Notice != nil {
		o.Notice(text)
	}
}
