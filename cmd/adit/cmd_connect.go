package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-ssh/adit/dial"
	"github.com/adit-ssh/adit/internal/fdpass"
	"github.com/adit-ssh/adit/internal/rawpipe"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/sshconfig"
	"github.com/adit-ssh/adit/trace"
)

const connectHelp = `Connects standard input and output to HOST PORT, byte for byte, as nc does: a
ProxyCommand for any SSH client.

  ProxyCommand adit connect -x proxy:1080 %h %p

With --fdpass it hands the connected socket itself to ssh and ends:

  ProxyCommand adit connect --fdpass -x proxy:3128 -X connect %h %p
  ProxyUseFdpass yes

What goes wrong is told on standard error, and to the SSH client as the server's
last word, so that a person sees it in any window; --no-inband leaves that out,
for other protocols than SSH. Then end of input closes only that direction.

The proxy is HOST:PORT, or a URL with one of the schemes socks4, socks4a, socks5,
http and https (TLS to the proxy), or "env": what ALL_PROXY and NO_PROXY say. It
looks names up itself, but for SOCKS4. A password is asked for as ssh asks, or is
ADIT_PROXY_PASSWORD's; in a URL (socks5://USER:PASSWORD@HOST) others on this
machine can see it.

With -J the way leads through other SSH servers, for clients that know no ProxyJump.
What holds for them stands in ~/.ssh/config; their questions are asked on the
terminal or by SSH_ASKPASS, and --timeout stands still meanwhile.

The exit status is 0 when the connection has ended, and 255 for an error.`

// connectArgs is the command line of `adit connect`.
type connectArgs struct {
	proxy, protocol, user, ca string
	unix, jump, config        string
	ip4, ip6                  bool
	fdpass, noInband, clean   bool
	timeout                   time.Duration
	log                       string
	told                      bool // what went wrong was printed
	record                    tracing
}

func connectCommand() *cobra.Command {
	a := new(connectArgs)
	cmd := &cobra.Command{
		Use:   "connect [flags] HOST PORT",
		Short: "Connect standard input and output to a server: a ProxyCommand",
		Long:  connectHelp,
		Example: `  ssh -o ProxyCommand='adit connect -x proxy:1080 %h %p' host
  ssh -o ProxyCommand='adit connect -J you@bastion %h %p' host
  adit connect --no-inband -U /run/service.sock </dev/null`,
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := a.way(args)
			if err == nil && w.Jump == "" {
				err = a.record.checkFor("the steps of connecting")
			}
			if err != nil {
				return &usageError{verbOf(cmd), err}
			}
			err = a.traced(cmd.Context(), w)
			a.note(w, err)
			if a.told {
				return exitError(255)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&a.proxy, "proxy", "x", "", `the proxy: HOST[:PORT], a URL, or "env"`)
	f.StringVarP(&a.protocol, "protocol", "X", "", "what the proxy speaks: 4, 4a, 5 or connect (default 5)")
	f.StringVarP(&a.user, "user", "P", "", "the proxy's user")
	f.StringVar(&a.ca, "proxy-ca", "", "authorities of an https proxy's certificate, in PEM, instead of the system's")
	f.StringVarP(&a.unix, "unix", "U", "", "connect to this unix socket; HOST and PORT may be left out")
	f.StringVarP(&a.jump, "jump", "J", "", "go through these SSH servers: [user@]host[:port], several separated by commas")
	f.StringVarP(&a.config, "config", "F", "", "with -J: read this file in place of ~/.ssh/config and the system's")
	f.BoolVarP(&a.ip4, "ipv4", "4", false, "IPv4 only")
	f.BoolVarP(&a.ip6, "ipv6", "6", false, "IPv6 only")
	f.BoolVar(&a.fdpass, "fdpass", false, "pass the connected socket over standard output, and end")
	f.BoolVar(&a.noInband, "no-inband", false, "not SSH: tell no errors in band, and wait for the server as long as it takes")
	f.BoolVar(&a.clean, "clean", false, "leave out lines that come before the server's SSH version line")
	f.DurationVar(&a.timeout, "timeout", rawpipe.Timeout, "how long the server's first byte may take, or with --fdpass or --no-inband the connection; 0 is for ever")
	f.StringVar(&a.record.file, "trace", "", "record the steps of connecting, and jump hosts' messages, to FILE[,LEVEL] (adit trace --help)")
	f.StringVar(&a.log, "log", "", "append errors to this file too")
	cmd.MarkFlagsMutuallyExclusive("ipv4", "ipv6")
	cmd.MarkFlagsMutuallyExclusive("fdpass", "clean")
	cmd.MarkFlagsMutuallyExclusive("no-inband", "clean")
	return cmd
}

// way is how a server is reached, with all that another process needs for it.
type way struct {
	Network string // "tcp", "tcp4", "tcp6" or "unix"
	Address string // host:port, or the socket's path
	Proxy   string // a URL without login; "" is none
	User    string // of the proxy
	// Password is the user's, once it is known.
	Password string
	CA       string // a file of authorities in PEM; "" is the system's
	Jump     string // jump hosts, as ProxyJump has them; "" is none
	Config   string // of jump hosts, as ssh -F has it
}

// way reads the arguments.
func (a *connectArgs) way(args []string) (*way, error) {
	w := &way{Network: "tcp", CA: a.ca}
	if a.timeout < 0 {
		return nil, fmt.Errorf("bad --timeout %v: 0 is for ever", a.timeout)
	}
	if err := a.hops(); err != nil {
		return nil, err
	}
	w.Jump, w.Config = a.jump, a.config
	if a.unix != "" {
		if len(args) != 0 && len(args) != 2 {
			return nil, errors.New("with -U, HOST and PORT are left out")
		}
		if a.proxy != "" {
			return nil, errors.New("no proxy leads to a unix socket: leave out -x or -U")
		}
		w.Network, w.Address = "unix", a.unix
		return w, nil
	}
	if len(args) != 2 {
		return nil, errors.New("HOST and PORT are due")
	}
	host := strings.TrimSuffix(strings.TrimPrefix(args[0], "["), "]")
	if n, err := strconv.ParseUint(args[1], 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("bad port %q: a number from 1 to 65535 is due", args[1])
	}
	if host == "" {
		return nil, errors.New("HOST is empty")
	}
	w.Address = net.JoinHostPort(host, args[1])
	switch {
	case a.ip4:
		w.Network = "tcp4"
	case a.ip6:
		w.Network = "tcp6"
	}
	return w, a.through(w, host)
}

// hops checks what is said about jump hosts.
func (a *connectArgs) hops() error {
	if strings.EqualFold(a.jump, "none") {
		a.jump = ""
	}
	switch {
	case a.jump == "" && a.config != "":
		return errors.New("-F is about jump hosts, and -J names none")
	case a.jump == "":
		return nil
	case a.unix != "" || a.proxy != "":
		return errors.New("-J is one way to the server, and -x and -U are others: leave one out; a jump host's own proxy stands in its configuration")
	case a.ip4 || a.ip6:
		return errors.New("with -J the last jump host looks HOST up: leave out -4 and -6")
	}
	if _, _, err := sshconfig.LastHop(a.jump); err != nil {
		return fmt.Errorf("bad -J %q: %w", a.jump, err)
	}
	return nil
}

// protocols are nc's words for -X.
var protocols = map[string]string{"4": "socks4", "4a": "socks4a", "5": "socks5", "connect": "http"}

// through reads what is said about the proxy.
func (a *connectArgs) through(w *way, host string) error {
	scheme, known := protocols[a.protocol]
	if a.protocol != "" && !known {
		return fmt.Errorf("bad protocol %q: 4, 4a, 5 or connect is due", a.protocol)
	}
	address := a.proxy
	if address == "env" {
		address = dial.ProxyFromEnv(os.Getenv, host)
	}
	if address == "" {
		if a.proxy == "" && (a.protocol != "" || a.user != "" || a.ca != "") {
			return errors.New("-X, -P and --proxy-ca are about a proxy, and -x names none")
		}
		return nil
	}
	switch {
	case !strings.Contains(address, "://"):
		if !known {
			scheme = "socks5"
		}
		address = scheme + "://" + address
	case known:
		return errors.New("the proxy's scheme and -X both say what it speaks: leave one out")
	}
	p, err := dial.ParseProxy(address)
	if err != nil {
		return err
	}
	if a.ca != "" && p.TLS == nil {
		return errors.New("--proxy-ca is for https proxies")
	}
	w.Proxy, _, _ = strings.Cut(address, "://")
	w.Proxy += "://" + p.Address
	w.User, w.Password = p.User, p.Password
	if a.user != "" {
		w.User, w.Password = a.user, ""
	}
	return nil
}

// login finds the password of the proxy's user. SOCKS4 has none.
func (w *way) login(ctx context.Context) error {
	if w.User == "" || w.Password != "" || strings.HasPrefix(w.Proxy, "socks4") {
		return nil
	}
	if w.Password = os.Getenv("ADIT_PROXY_PASSWORD"); w.Password != "" {
		return nil
	}
	_, at, _ := strings.Cut(w.Proxy, "://")
	question := fmt.Sprintf("%s's password for the proxy %s: ", w.User, at)
	answer, ok, err := (&terminal{lifetime: ctx}).Ask(ctx, question, false)
	if err == nil && !ok {
		err = errNoPassword
	}
	if err != nil {
		return fmt.Errorf("ask for %s's password for the proxy %s: %w", w.User, at, err)
	}
	w.Password = answer
	return nil
}

var errNoPassword = errors.New("there is neither a terminal nor SSH_ASKPASS to ask")

// bare reports whether the connection is a socket and nothing else.
func (w *way) bare() bool { return w.Jump == "" && !strings.HasPrefix(w.Proxy, "https:") }

// dial connects. Jump hosts may have questions, which clock does not count, and
// warnings.
func (w *way) dial(ctx context.Context, clock *rawpipe.Clock, warn func(text string)) (net.Conn, error) {
	if w.Jump != "" {
		o := &setup.Options{Prompter: &timed{clock: clock, terminal: terminal{lifetime: ctx}}, Notice: warn}
		o.Lifetime, o.Tracer = ctx, trace.FromContext(ctx)
		o.Route = setup.Route{Jump: w.Jump, File: w.Config, Stderr: os.Stderr}
		return o.Jump(ctx, w.Address)
	}
	if w.Network == "unix" {
		return dial.Unix{Path: w.Address}.Dial(ctx, w.Address)
	}
	tcp := dial.TCP{Network: w.Network}
	if w.Proxy == "" {
		return tcp.Dial(ctx, w.Address)
	}
	p, err := w.proxy()
	if err != nil {
		return nil, err
	}
	p.Forward = tcp.Dial
	return p.Dial(ctx, w.Address)
}

// proxy is the way's proxy, with its login.
func (w *way) proxy() (p dial.Proxy, err error) {
	if p, err = dial.ParseProxy(w.Proxy); err != nil {
		return p, err
	}
	p.User, p.Password = w.User, w.Password
	if w.CA != "" {
		p.TLS, err = authorities(w.CA)
	}
	return p, err
}

func authorities(file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("proxy's authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("proxy's authorities: %s has no certificate in PEM", file)
	}
	return &tls.Config{RootCAs: roots}, nil
}

// traced is run, with its steps recorded if --trace wants them.
func (a *connectArgs) traced(ctx context.Context, w *way) error {
	return a.record.around(ctx, trace.ConnStart{Role: "client", Target: w.Address}, func(ctx context.Context) error { return a.run(ctx, w) })
}

func (a *connectArgs) run(ctx context.Context, w *way) error {
	// Else to write to a standard error that is closed would end us untold.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if a.fdpass {
		if err := fdpass.Check(os.Stdout); err != nil {
			return &fdpassError{err}
		}
	}
	// A failure is told in band too, and a question does not count as the
	// server's time.
	loginErr := w.login(ctx)
	if a.fdpass {
		if loginErr != nil {
			return loginErr
		}
		return passConnection(ctx, w, a.timeout)
	}
	clock, out := rawpipe.NewClock(a.timeout), rawpipe.Watch(os.Stdout)
	p := &rawpipe.Pipe{
		In: os.Stdin, Out: os.Stdout, CloseOut: out.CloseWrite, Gone: out.Gone(),
		Clock: clock, NotSSH: a.noInband, Clean: a.clean,
		Program: "adit_" + version, Hint: hint, Telling: a.tell,
		Skipped: func(line string) { a.noteText("left out before the version line: " + line) },
		Dial: func(ctx context.Context) (net.Conn, error) {
			if loginErr != nil {
				return nil, loginErr
			}
			return w.dial(ctx, clock, func(text string) { warn(text); a.noteText(text) })
		},
	}
	return p.Run(ctx)
}

// tell prints an error before the client is told: some clients end their helper
// as soon as they are. A standard error that nobody reads does not hold it up.
func (a *connectArgs) tell(err error) {
	a.told = true
	printed := make(chan struct{})
	go func() { // ends with the print, or with the program
		defer close(printed)
		tell(err)
	}()
	select {
	case <-printed:
	case <-time.After(100 * time.Millisecond):
	}
}

// warn tells what a jump host's configuration or login gives cause for.
func warn(text string) { fmt.Fprintf(os.Stderr, "adit: %s\n", strings.TrimRight(text, "\n")) }

// timed is a terminal whose questions a clock does not count.
type timed struct {
	clock *rawpipe.Clock
	terminal
}

// Ask implements setup.Prompter.
func (t *timed) Ask(ctx context.Context, question string, echo bool) (string, bool, error) {
	defer t.clock.Pause()()
	return t.terminal.Ask(ctx, question, echo)
}

// fdpassError is a standard output over which nothing can be passed.
type fdpassError struct{ err error }

func (e *fdpassError) Error() string { return "--fdpass: " + e.err.Error() }
func (e *fdpassError) Unwrap() error { return e.err }

// note appends an error to the log.
func (a *connectArgs) note(w *way, err error) {
	if err == nil {
		return
	}
	a.noteText(w.Address + ": " + err.Error())
}

func (a *connectArgs) noteText(text string) {
	if a.log == "" {
		return
	}
	f, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintf(os.Stderr, "adit: warning: log: %v\n", err)
		return
	}
	defer f.Close()
	io.WriteString(f, time.Now().Format(time.RFC3339)+" adit connect: "+strings.ReplaceAll(text, "\n", " ")+"\n")
}
