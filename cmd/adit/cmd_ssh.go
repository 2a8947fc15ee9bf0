package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-ssh/adit"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/internal/wire"
	"github.com/adit-ssh/adit/sshconfig"
	"github.com/adit-ssh/adit/trace"
)

const sshHelp = `Connects to an SSH server with OpenSSH's command line.

  adit ssh [-46AaCfGgKkMNnqsTtVvXxYy] [-B interface] [-b bind_address] [-c ciphers]
           [-D [bind_address:]port] [-E log_file] [-e escape_char] [-F file]
           [-i identity_file] [-J jump_hosts] [-L [bind_address:]port:host:hostport]
           [-l user] [-m macs] [-O command] [-o option] [-P tag] [-p port]
           [-Q query] [-R [bind_address:]port[:host:hostport]] [-S path] [-W host:port]
           [user@]host|ssh://[user@]host[:port]|ssm://[user@]target[?sessions=n]
           [command …]

  -L  listen on a local port and forward each connection to host:hostport
  -R  have the server listen, and connect to host:hostport on this side; without
      these, be a proxy as with -D. Port 0 lets the server choose
  -D  listen as a SOCKS4, SOCKS4a, SOCKS5 and HTTP CONNECT proxy
  -W  connect standard input and output to host:port
      Paths of unix sockets may stand for ports and for host:hostport, as in
      -L /tmp/db.sock:db.internal:5432 or -R 8080:/run/app.sock
  -J  reach the host through others: [user@]host[:port], several separated by
      commas. Their options come from the configuration files alone
  -g  let other machines connect to -L and -D
  -A  let programs at the server use the agent (SSH_AUTH_SOCK, or IdentityAgent);
      -a does not, whatever ForwardAgent says
  -t  a terminal at the server for the command, too; -tt even without one here
  -T  no terminal at the server
  -s  the command is a subsystem's name
  -e  the escape character, ~ by default; none for none. At a line's begin ~. ends
      the connection, ~^Z suspends, ~? lists the others
  -C  compress: for slow networks and data that is not compressed already
  -N  no command: only forward
  -n  read nothing from standard input
  -f  go into the background when the login is done and the forwards are there
  -M  share the connection: be the master at the socket that -S or ControlPath names;
      -MM asks SSH_ASKPASS first. ControlPersist has it outlive the command
  -S  the socket of a shared connection; none for none
  -O  ask its master: check, forward, cancel, stop, exit; proxy runs a session of ours
  -i  a private key; may be given several times
  -o  an option in ssh_config's form, such as StrictHostKeyChecking=accept-new,
      UserKnownHostsFile, ConnectTimeout, ServerAliveInterval, RekeyLimit
      adit's own AditProxy=PROXY leads through a SOCKS or HTTP proxy, named as for
      adit connect -x
  -v  tell what happens; -vv adds channels, -vvv every message
  -q  no warnings, and no errors of the connection: the exit status tells
  -E  append what is told to a file; -y tells it to the system's log
  --push-key eic|ssm|auto  with ssm://TARGET: log in with a key made for this login,
      which EC2 Instance Connect or Run Command lets in for a minute (adit ssm --help)
  --trace FILE[,LEVEL]  record the connection's messages: FILE.jsonl for adit trace,
      FILE.pcapng for Wireshark, others as text. LEVEL is conn, channel, packet
      (the default) or data; or -o AditTrace=FILE[,LEVEL]
  --keylog FILE  append the connection's secrets for Wireshark (ssh.keylog_file);
      or -o AditKeyLog=FILE
  -F  read this file instead of ~/.ssh/config and the system's; "none" reads none
  -G  print what holds for the host, and end; see also: adit config explain
  -Q  list what is supported: cipher, kex, key, mac, …; -Q help lists the lists

Questions are asked on the terminal; without one, SSH_ASKPASS asks if DISPLAY or
WAYLAND_DISPLAY is set. SSH_ASKPASS_REQUIRE may be prefer, force or never.

The exit status is the command's, or 255 for an error. Under the name ssh, as a
link or a copy, adit is adit ssh.
`

func sshCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "ssh [flags] [user@]host [command]",
		Short:              "Connect, forward ports and run commands as OpenSSH's ssh does",
		Long:               sshHelp,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
				fmt.Print(sshHelp)
				return nil
			}
			a, err := parseSSH(args)
			if err != nil {
				return &usageError{"ssh", err}
			}
			switch {
			case a.version:
				fmt.Fprintf(os.Stderr, "adit_%s\n", version)
				return nil
			case a.query != "":
				return query(os.Stdout, a.query)
			}
			return runSSH(cmd.Context(), a)
		},
	}
}

func runSSH(ctx context.Context, a *sshArgs) (err error) {
	if a.target.Host == "" {
		return &usageError{"ssh", errors.New("no host is given")}
	}
	if a.unsupported != "" && !a.print {
		return &usageError{"ssh", errors.New(a.unsupported)}
	}
	if err := a.divert(); err != nil {
		return err
	}
	heedBrokenPipes()
	ctx, bg := inBackground(ctx)
	a.Prompter = &terminal{lifetime: ctx}
	a.Notice = func(text string) {
		if !a.quiet {
			fmt.Fprintf(messages, "adit: %s\n", strings.TrimRight(text, "\n"))
		}
	}
	a.Say, a.Lifetime = a.sayAs, ctx
	// The program in the background does, and tells, all that comes then. With -f
	// this one need not read the configuration to know.
	background := func(wanted bool) bool { return wanted && bg == nil && a.control == "" && !a.print }
	if background(slices.Contains(a.overrides, "ForkAfterAuthentication=yes")) {
		return leaveToBackground(ctx)
	}
	conf, err := a.load(ctx)
	if err != nil {
		return err
	}
	if a.print {
		return conf.Print(os.Stdout)
	}
	if background(conf.ForkAfterAuthentication) {
		return leaveToBackground(ctx)
	}
	if err := a.configureFor(conf, bg); err != nil {
		return err
	}
	defer func() { err = a.quieted(err) }()
	if done, err := a.throughMaster(ctx, conf, bg); done {
		return err
	}
	timeout, stays := a.persistTime(conf)
	if stays && bg == nil {
		return a.persist(ctx, conf)
	}
	for _, line := range a.lacking {
		a.sayAs("ERROR", line)
	}
	if bg != nil {
		bg.quiet = a.verbose == 0 && !a.tracing.tells()
	}
	a.observer = newObserver(messages, a.verbosity())
	if a.verbose > 0 {
		a.Tracer = &debugTracer{w: messages, most: min(trace.LevelPacket, trace.Level(a.verbose))} // for jump hosts
	}
	tracer, keys, endTrace, err := a.tracing.start()
	defer endTrace()
	if err != nil {
		return err
	}
	a.Tracer, a.KeyLog = trace.Tee(a.Tracer, tracer), keys
	if err := a.throughProxy(ctx, &a.Options); err != nil {
		return err
	}
	if err := a.route(); err != nil {
		return err
	}
	if a.stdio == nil && !a.noCommand {
		a.Route.Interactive, _ = a.decidePTY()
	}
	cfg, err := a.Config()
	if err != nil {
		return err
	}
	cfg.Tracer = a.Watched(trace.Tee(a.observer, tracer))
	if a.stdio != nil && a.stdio.TargetPath == "" && !stays {
		cfg.Ahead = net.JoinHostPort(a.stdio.Host, strconv.Itoa(int(a.stdio.HostPort)))
	}
	p := a.newPool(cfg, conf)
	if err := a.pushing.prepare(cfg, conf.User); err != nil {
		return err
	}
	c, err := a.connect(ctx, conf, cfg)
	defer a.pushing.remove(ctx)()
	if err != nil {
		return a.pushing.explain(err)
	}
	defer c.Close()
	a.tellLogin(c)
	if c.Unverified() {
		a.forwards = nil
	}
	if err := p.start(ctx, c, tracer); err != nil {
		return err
	}
	defer p.close()
	forwards, err := startForwards(ctx, c, a)
	defer func() {
		for _, f := range forwards {
			f.Close()
		}
	}()
	if err != nil {
		return err
	}
	m, err := a.startMaster(c, conf, forwards)
	if err != nil {
		return err
	}
	defer m.end(ctx, c)
	ctx, stop := m.untilTerminated(ctx)
	defer stop()
	if stays && !conf.ForkAfterAuthentication {
		if m != nil { // the session is for the one that started us
			return a.stay(ctx, c, bg, m, timeout)
		}
		bg = nil // there is a master already: all is done here
	}
	switch {
	case a.stdio != nil:
		return runStdio(ctx, c, a)
	case !a.noCommand:
		err := runSession(ctx, c, a, forwards, bg)
		if m == nil || !stays || ctx.Err() != nil || c.Err() != nil {
			return err
		}
		bg, a.session.local = nil, "" // the master of -f outlives its command
	}
	return a.stay(ctx, c, bg, m, timeout)
}

// stay is -N, and a master that has no session of its own: it serves others until
// the connection ends, or nobody needs it any more.
func (a *sshArgs) stay(ctx context.Context, c *adit.Client, bg *background, m *master, timeout time.Duration) error {
	if a.session.alone {
		// Nobody will ask for a session on this connection (OpenSSH PROTOCOL, 2.2).
		c.SendRequest(ctx, wire.GlobalNoMoreSessions, false, nil)
	}
	if err := a.runLocal(ctx); err != nil {
		return err
	}
	if err := bg.detach(nil); err != nil {
		return err
	}
	select {
	case <-m.unused(ctx, timeout):
		return exitError(255) // as OpenSSH: there was no command to have a status
	case <-ctx.Done():
		// To end by SIGTERM is no error of a mere forwarder (OpenSSH,
		// clientloop.c).
		if s, ok := errors.AsType[signalError](context.Cause(ctx)); ok && s.Signal == syscall.SIGTERM {
			return nil
		}
		return context.Cause(ctx)
	case <-c.Done():
	}
	if lost := a.lost(c); lost != nil {
		return lost
	}
	return nil
}

// load reads the configuration of the host: the command line, then the files.
func (a *sshArgs) load(ctx context.Context) (*sshconfig.Config, error) {
	return setup.LoadConfig(ctx, sshconfig.Options{
		Host: a.target.Host, RemoteUser: a.target.User, File: a.file, CommandLine: slices.Concat(a.overrides, a.options),
		Command: strings.Join(a.command, " "), Stdio: a.stdio != nil,
	})
}

// configure takes over what the configuration says.
func (a *sshArgs) configure(c *sshconfig.Config) error {
	a.logLevel = c.LogLevel
	if f := c.SyslogFacility; a.syslog && f != "USER" {
		w, err := openSyslog(f)
		if err != nil {
			return fmt.Errorf("-y: %w", err)
		}
		messages.to(w)
	}
	a.quiet = !a.shows("INFO")
	a.verbose = max(a.verbose, map[string]int{"DEBUG": 1, "DEBUG2": 2, "DEBUG3": 3}[c.LogLevel])
	a.forwards = setup.Forwards(c)
	a.noCommand = c.SessionType == "none"
	a.noStdin = c.StdinNull
	a.forwarding, a.exitOnFail = setup.ForwardConfig(c), c.ExitOnForwardFailure
	a.forwarding.Refused, a.forwarding.Unreachable = a.tellRefused, a.tellUnreachable
	if c.RemoteCommand != "" {
		a.command = []string{c.RemoteCommand}
	}
	if err := a.configureSession(c); err != nil {
		return err
	}
	return a.Apply(c)
}

// route completes the way to the server.
func (a *sshArgs) route() error {
	a.Route.File, a.Route.Stderr, a.Route.Own, a.Route.Shared = a.file, os.Stderr, a.ownCommand, sharedHop
	if a.Route.Command != "-" {
		return nil
	}
	// OpenSSH would read and write both at once, which helps nobody.
	if !a.noCommand || a.stdio != nil {
		return errors.New("ProxyCommand -: standard input and output are the connection, so there is no place for a command's: use -N")
	}
	a.noStdin = true
	return nil
}

// runStdio is -W: standard input and output to a target.
func runStdio(ctx context.Context, c *adit.Client, a *sshArgs) error {
	var in io.Reader = os.Stdin
	if a.noStdin {
		in = strings.NewReader("")
	}
	err := c.ForwardStdio(ctx, *a.stdio, in, os.Stdout)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
