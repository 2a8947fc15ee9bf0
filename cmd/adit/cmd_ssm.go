package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/adit-ssh/adit/dial/ssm"
	"github.com/adit-ssh/adit/internal/rawpipe"
	"github.com/adit-ssh/adit/trace"
)

const ssmHelp = `Connects standard input and output to a port of a node that AWS Session Manager
manages, byte for byte: a ProxyCommand for any SSH client. Neither the aws command
nor session-manager-plugin is needed.

  Host i-* mi-*
      ProxyCommand adit ssm %h %p

With --local it listens instead, and forwards each connection to --remote, which
is looked up and reached from the node: no SSH server is needed.

  adit ssm --local 5432 --remote db.internal:5432 i-0123456789abcdef0

TARGET is an instance (i-…), a hybrid node (mi-…), a container
(ecs:CLUSTER_TASK_RUNTIME), a Name tag, KEY=VALUE of a tag, a computer name or a
private address; of several nodes, the one that is online. adit ssm ls lists
them. "adit ssh ssm://[USER@]TARGET" logs in without any configuration.

A name may also be an alias: a host of ssh_config whose ProxyCommand is adit ssm, or
whose HostName is an instance. It means that TARGET, with the options there; those
given here win. With --local, PORT, --document, --parameter and --push-key there do
not count. ids, tags and ssm://NAME are no aliases; -F none knows none.

  Host db
      HostName i-0123456789abcdef0
      ProxyCommand adit ssm --profile prod --region eu-west-1 %h %p

  adit ssm --local 5432 --remote db.internal:5432 db

--push-key lets a key log in for a minute, once the session stands. eic asks EC2
Instance Connect, which takes ec2-instance-connect:SendSSHPublicKey and an instance
with its package; ssm has root on the node put the key into authorized_keys and remove
it again, which takes ssm:SendCommand and ssm:GetCommandInvocation; auto is the first,
or the second where AWS refuses the first (in adit ssh also where the node does).

  ProxyCommand adit ssm --push-key eic --user %r --identity ~/.ssh/id_ed25519 %h %p
  adit ssh --push-key eic ssm://ec2-user@i-0123456789abcdef0     (needs no key at all)

Credentials come as for aws: environment, ~/.aws, SSO, roles, the instance's.
Files and tokens are read anew whenever a session is resumed. The session needs
the permissions ssm:StartSession, ssm:ResumeSession and ssm:TerminateSession, and
ssmmessages:OpenDataChannel where AWS asks for it; names and tags need
ssm:DescribeInstanceInformation.

AWS's agent sends 0.8 MB/s in a session at most. --sessions N has connections of
--local spread over several, which add up; each takes about a second to start, and is
tried again if AWS does not start it now. In adit ssh's ProxyCommand it does the same
for connections of -L and -D, each session with a login of its own; other SSH clients
have one connection, and one session.

The protocol can't end one direction alone. End of input ends the connection: at
once, or with --no-inband and --local when nothing has come for 10 s.
The exit status is 0 when the connection has ended, and 255 for an error.`

// ssmArgs is the command line of `adit ssm`.
type ssmArgs struct {
	config     ssm.Config
	options    ssm.Options
	parameters []string

	file    string         // -F
	set     *pflag.FlagSet // of the command line; nil for a ProxyCommand of ours
	literal bool           // TARGET is no alias

	sessions      int
	local, remote string
	noInband      bool
	push          keyPush
	service       atomic.Pointer[ssm.Service] // of the last dial
	reached       atomic.Pointer[ssmArgs]     // what run has followed TARGET to
	timeout       time.Duration
	log           string
	record        tracing
}

func ssmCommand() *cobra.Command {
	a := new(ssmArgs)
	cmd := &cobra.Command{
		Use:   "ssm [flags] TARGET [PORT]",
		Short: "Reach a port through AWS Session Manager: a ProxyCommand, or a local port",
		Long:  ssmHelp,
		Example: `  ssh -o ProxyCommand='adit ssm %h %p' ec2-user@i-0123456789abcdef0
  adit ssm --local 5432 --remote db.internal:5432 bastion`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.read(args); err != nil {
				return &usageError{verbOf(cmd), err}
			}
			if err := a.record.checkFor("Session Manager's messages"); err != nil {
				return &usageError{verbOf(cmd), err}
			}
			do := a.run
			if a.local != "" {
				do = a.forward
			}
			return a.record.around(cmd.Context(), trace.ConnStart{Role: "ssm", Target: a.options.Target}, do)
		},
		ValidArgsFunction: a.complete,
	}
	a.set = cmd.Flags()
	a.flags(a.set)
	a.programFlags(a.set)
	cmd.MarkFlagsMutuallyExclusive("local", "no-inband")
	cmd.MarkFlagsMutuallyExclusive("local", "log")
	cmd.AddCommand(a.listCommand())
	return cmd
}

// programFlags are those of the program, whatever session it has.
func (a *ssmArgs) programFlags(f *pflag.FlagSet) {
	f.StringVarP(&a.file, "config", "F", "", `where aliases are: read this file in place of ~/.ssh/config and the system's; "none" reads none`)
	f.StringVar(&a.local, "local", "", "listen on [ADDRESS:]PORT instead, on loopback if no address is given; 0 is any port")
	f.StringVar(&a.remote, "remote", "", "with --local: where connections go, [HOST:]PORT as the node sees it")
	f.BoolVar(&a.noInband, "no-inband", false, "not SSH: tell no errors in band, and wait for the server as long as it takes")
	f.DurationVar(&a.timeout, "timeout", rawpipe.Timeout, "how long the server's first byte may take, or with --no-inband the session; 0 is for ever")
	f.StringVar(&a.log, "log", "", "append errors to this file too")
	f.StringVar(&a.record.file, "trace", "", traceHelp)
}

// flags are those that say whose session it is and to what.
func (a *ssmArgs) flags(f *pflag.FlagSet) {
	a.configFlags(f)
	f.StringVar(&a.config.EndpointMessages, "endpoint-ssmmessages", "", "URL that data channels are opened at, such as a VPC endpoint's")
	f.StringVar(&a.options.Document, "document", "", "the session's document, of type Port (default AWS's own); one of yours has PORT and --remote by --parameter only")
	f.StringArrayVar(&a.parameters, "parameter", nil, "a parameter of the document, NAME=VALUE")
	f.IntVar(&a.options.MaxChunk, "max-payload", 0, "bytes in a message, 1024 to 65536; bulk data grows to it (default 16384)")
	f.IntVar(&a.sessions, "sessions", 1, "with --local, and as adit ssh's ProxyCommand: connections are spread over so many sessions, 1 to 16")
	f.StringVar(&a.options.Reason, "reason", "", "a reason that is kept with the session")
	a.push.flags(f)
}

func (a *ssmArgs) configFlags(f *pflag.FlagSet) {
	f.StringVar(&a.config.Profile, "profile", "", "a profile of ~/.aws/config (default AWS_PROFILE)")
	f.StringVar(&a.config.Region, "region", "", "the region (default AWS_REGION, or the profile's)")
	f.StringVar(&a.config.EndpointSSM, "endpoint-ssm", "", "URL of the API, such as a VPC endpoint's (default AWS_ENDPOINT_URL_SSM)")
}

// read reads the arguments.
func (a *ssmArgs) read(args []string) (err error) {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("TARGET is due, and PORT if it is not 22")
	}
	if a.timeout < 0 {
		return fmt.Errorf("bad --timeout %v: 0 is for ever", a.timeout)
	}
	if a.sessions < 1 || a.sessions > maxSessions {
		return fmt.Errorf("bad --sessions %d: 1 to %d is due", a.sessions, maxSessions)
	}
	a.options.Target, a.literal = strings.CutPrefix(args[0], "ssm://")
	a.options.Notice = func(text string) { fmt.Fprintln(os.Stderr, "adit: notice: "+text) }
	if len(args) == 2 {
		if a.options.Port, err = portNumber(args[1]); err != nil {
			return err
		}
	}
	a.options.Parameters = map[string][]string{}
	for _, p := range a.parameters {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return fmt.Errorf("bad --parameter %q: NAME=VALUE is due", p)
		}
		a.options.Parameters[name] = append(a.options.Parameters[name], value)
	}
	if err := a.readForward(len(args) == 2); err != nil {
		return err
	}
	return a.push.check(a.local != "")
}

func portNumber(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("bad port %q: a number from 1 to 65535 is due", s)
	}
	return int(n), nil
}

// Times of `adit ssm`.
const (
	// endPatience is how long the session may take to end after a signal.
	endPatience = 400 * time.Millisecond
	// startPatience is how long one that is being started may take to end: a second for
	// AWS's answer, and a call of its API that takes as long.
	startPatience = 2500 * time.Millisecond
	// quietAfter is how long a server may be silent until a person is told.
	quietAfter = 5 * time.Second
)

// run is the ProxyCommand.
func (a *ssmArgs) run(ctx context.Context) error {
	// Else to write to a standard error that is closed would end us untold.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	var opened net.Conn
	out, teller := rawpipe.Watch(os.Stdout), new(connectArgs)
	p := &rawpipe.Pipe{
		In: os.Stdin, Out: os.Stdout, CloseOut: out.CloseWrite, Gone: out.Gone(),
		Timeout: a.timeout, NotSSH: a.noInband, Program: "adit_" + version, Hint: a.hint,
		Telling: func(err error) { teller.tell(a.portError(err)) },
	}
	dialled := make(chan struct{})
	p.Dial = func(limited context.Context) (net.Conn, error) {
		defer close(dialled)
		to, err := a.follow(limited)
		if err != nil {
			return nil, err
		}
		a.reached.Store(to)
		c, err := to.dial(limited)
		if err != nil {
			return nil, err
		}
		opened = &endingConn{Conn: c, ctx: ctx}
		if !a.noInband {
			opened = to.watch(opened, func(text string) { fmt.Fprintln(os.Stderr, "adit: "+text) })
		}
		return opened, nil
	}
	err := p.Run(ctx)
	select {
	case <-dialled: // which Run does not wait for
		if opened != nil {
			opened.Close() // and wait until AWS knows
		}
	case <-time.After(startPatience):
	}
	noteTo(a.log, "ssm", a.options.Target, err)
	if err != nil && teller.told {
		return exitError(255)
	}
	return a.portError(err)
}

// portError is err, with what is known about the port if it is about that.
func (a *ssmArgs) portError(err error) error {
	if silent, ok := errors.AsType[*rawpipe.SilentError](err); ok {
		return &portError{cmp.Or(a.reached.Load(), a).options, silent}
	}
	return err
}

// endingConn does not take its time to close once the program is to end. The end
// of input, which it can't pass on, lets the other direction end when nothing has
// come for a while.
type endingConn struct {
	net.Conn
	ctx   context.Context
	ended atomic.Bool // the end of input has come
}

// CloseWrite waits for no answer longer than halfClosed.
func (c *endingConn) CloseWrite() error {
	c.ended.Store(true)
	return c.SetReadDeadline(time.Now().Add(halfClosed))
}

func (c *endingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.ended.Load() {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n, io.EOF
		}
		c.SetReadDeadline(time.Now().Add(halfClosed))
	}
	return n, err
}

func (c *endingConn) Close() error {
	if c.ctx.Err() != nil {
		c.SetWriteDeadline(time.Now().Add(endPatience))
	}
	return c.Conn.Close()
}

// watch tells the person of an SSH server that says nothing. AWS's agent is
// silent for a minute if nothing listens on the port.
func (a *ssmArgs) watch(c net.Conn, tell func(text string)) net.Conn {
	timer := time.AfterFunc(quietAfter, func() { tell("warning: " + silentText(&a.options)) })
	return &watchedConn{Conn: c, timer: timer}
}

type watchedConn struct {
	net.Conn
	timer *time.Timer
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.timer.Stop()
	return n, err
}

func (c *watchedConn) Close() error {
	c.timer.Stop()
	return c.Conn.Close()
}

// portError is a session whose port does not speak.
type portError struct {
	options ssm.Options
	err     error
}

func (e *portError) Error() string { return e.err.Error() }
func (e *portError) Unwrap() error { return e.err }

// Hint says what is likely, if it is silence.
func (e *portError) Hint() string {
	if errors.Is(e.err, os.ErrDeadlineExceeded) || errors.Is(e.err, rawpipe.ErrSilent) {
		return silentText(&e.options)
	}
	return ""
}

func silentText(o *ssm.Options) string {
	port := o.Port
	if port == 0 {
		port = 22
	}
	return fmt.Sprintf("nothing answers on port %d of %s; is sshd running?", port, o.Target)
}

// hint is what Pipe tells in band about an error.
func (a *ssmArgs) hint(err error) string { return hint(a.portError(err)) }

// noteTo appends an error to a log.
func noteTo(log, verb, about string, err error) {
	if err == nil || log == "" {
		return
	}
	f, openErr := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if openErr != nil {
		fmt.Fprintf(os.Stderr, "adit: warning: log: %v\n", openErr)
		return
	}
	defer f.Close()
	text := strings.ReplaceAll(about+": "+err.Error(), "\n", " ")
	io.WriteString(f, time.Now().Format(time.RFC3339)+" adit "+verb+": "+text+"\n")
}
