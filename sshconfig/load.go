package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Options says for which host, from which files, and in which surroundings. Only
// Host is needed.
type Options struct {
	// Host as the person typed it, without user and port.
	Host string
	// RemoteUser is the name before the @, or of -l. It holds unless CommandLine
	// has another, goes before all files, and no tokens are looked for in it.
	RemoteUser string
	// CommandLine are options given by hand, in order: "Port=22" or "Port 22",
	// as after ssh's -o. They go before all files. See Quote for values with
	// blanks. A forward may have -L's form as its one value.
	CommandLine []string
	// File is the one to read instead of the person's and the system's (-F), or
	// "none" for none at all.
	File string
	// SystemFile is the system's, "" for /etc/ssh/ssh_config. What is included
	// by it without a full path is searched beside that.
	SystemFile string

	// Command is what will be run on the server (Match command), "" for a shell.
	Command string
	// Stdio tells that standard input and output are to be forwarded (-W): that
	// changes two defaults.
	Stdio bool

	// User, UID and Home are the person's, LocalHost the machine's. "" asks the
	// system; Home is then the one of its user database, as with OpenSSH, not
	// $HOME.
	User, UID, Home, LocalHost string
	// Version is what Match version compares with; "" is Version.
	Version string

	// Algorithms is what the caller's engine has. The zero value means all of
	// OpenSSH's.
	Algorithms Algorithms

	// Getenv looks up ${NAME}. Nil asks the system.
	Getenv func(name string) (value string, ok bool)
	// Exec runs the command of a Match exec and returns its exit status. Nil
	// runs it in $SHELL, as OpenSSH does. It may be called twice for a line.
	Exec func(ctx context.Context, command string) (status int, err error)
	// Interfaces returns the machine's addresses, for Match localnetwork. Nil
	// asks the system.
	Interfaces func() ([]netip.Addr, error)
	// Resolver looks up names for CanonicalizeHostname. Nil asks the system.
	Resolver Resolver
}

// Version is the release whose ssh_config this package reads; it is what Match
// version compares with unless Options has another.
const Version = "OpenSSH_10.3p1"

// Load finds out what holds for a host. The steps are those of ssh.c:
//
//  1. the command line, the person's file, the system's file
//  2. the host's address: HostName, then CanonicalizeHostname
//  3. if that or a Match line asks for it, the files once more
//  4. defaults, and rules between keywords
//  5. tokens and variables
//
// The error joins a LineError for each mistake, up to a limit.
func Load(ctx context.Context, options Options) (*Config, error) {
	o := &options
	if err := o.complete(); err != nil {
		return nil, err
	}
	if !ValidHost(o.Host) {
		return nil, fmt.Errorf("host name %q is empty or has characters that are not safe", o.Host)
	}
	r := &reader{o: o, s: settings{}, host: o.Host}
	if err := r.joined(r.commandLine(ctx, o.CommandLine)); err != nil {
		return nil, err
	}
	if o.RemoteUser != "" && len(r.s["user"]) == 0 {
		r.s["user"] = []value{{text: o.RemoteUser, from: Origin{CommandLine: true}}}
		r.userTyped = true
	}
	if v := r.s["user"]; len(v) > 0 && !validUser(v[0].text) {
		return nil, lineError(v[0].from, "user", errors.New("the name has characters that are not safe"))
	}
	if err := r.joined(r.readFiles(ctx)); err != nil {
		return nil, err
	}
	host, err := r.address(ctx)
	if err != nil {
		return nil, err
	}
	// From here on these three are settled, for a second pass too.
	r.initial("canonicalizehostname", "false")
	r.initial("canonicalizemaxdots", "1")
	r.initial("canonicalizefallbacklocal", "yes")
	if r.wantFinal || r.s.text("canonicalizehostname") != "false" {
		r.final, r.host = true, host
		if len(r.s["hostname"]) == 0 {
			r.s["hostname"] = []value{{text: host}}
		}
		if err := r.joined(r.readFiles(ctx)); err != nil {
			return nil, err
		}
	}
	if err := r.complete(host); err != nil {
		return nil, err
	}
	if err := r.finish(host); err != nil {
		return nil, err
	}
	return r.config(host), nil
}

// joined adds the kept mistakes to the one that ended the reading.
func (r *reader) joined(err error) error {
	if err != nil && !errors.Is(err, errTooMany) {
		r.errs = append(r.errs, err)
	}
	return errors.Join(r.errs...)
}

func (o *Options) complete() error {
	if o.User == "" || o.Home == "" {
		u, err := Me()
		if err != nil {
			return fmt.Errorf("who you are: %w", err)
		}
		if o.User == "" {
			o.User = u.Username
		}
		if o.Home == "" {
			o.Home = u.HomeDir
		}
	}
	if o.UID == "" {
		o.UID = strconv.Itoa(os.Getuid())
	}
	if o.LocalHost == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("this machine's name: %w", err)
		}
		o.LocalHost = name
	}
	if o.Version == "" {
		o.Version = Version
	}
	if o.SystemFile == "" {
		o.SystemFile = systemDir() + "/ssh_config"
	}
	if o.Getenv == nil {
		o.Getenv = environ
	}
	if o.Exec == nil {
		o.Exec = runInShell
	}
	if o.Interfaces == nil {
		o.Interfaces = localAddresses
	}
	if o.Resolver == nil {
		o.Resolver = systemResolver{}
	}
	return nil
}

// readFiles reads the person's file and then the system's, or the one that was
// asked for. Only that one must be there, and need not be the person's own.
func (r *reader) readFiles(ctx context.Context) error {
	o := r.o
	if strings.EqualFold(o.File, "none") {
		return nil
	}
	if o.File != "" {
		err := r.file(ctx, &scope{path: o.File, user: true, active: true}, false)
		if isOpen(err, o.File) {
			err = fmt.Errorf("configuration file: %w", err)
		}
		return err
	}
	for _, sc := range []*scope{
		{path: strings.TrimSuffix(o.Home, "/") + "/.ssh/config", user: true, active: true},
		{path: o.SystemFile, active: true},
	} {
		err := r.file(ctx, sc, sc.user)
		if isOpen(err, sc.path) {
			// OpenSSH goes on without a file that it can't open, and says nothing.
			if !errors.Is(err, fs.ErrNotExist) {
				r.warn(Origin{}, err.Error()+"; it is not used")
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}
