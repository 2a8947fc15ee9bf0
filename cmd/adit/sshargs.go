package main

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/adit-ssh/adit/internal/forward"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/sshconfig"
)

// sshOptions is OpenSSH's option string.
const sshOptions = "1246ab:c:e:fgi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy"

// sshArgs is the command line of `adit ssh`.
type sshArgs struct {
	setup.Options
	target      sshconfig.Target
	file        string   // -F
	overrides   []string // flags as options that win over every -o
	options     []string // other flags and -o, in order
	unsupported string   // the first flag that only -G understands
	stdio       *forward.Spec
	proxy       string // -o AditProxy
	tracing     tracing
	pushing     *pushing // --push-key
	verbose     int
	print       bool // -G
	version     bool
	query       string   // -Q
	logFile     string   // -E
	syslog      bool     // -y
	lacking     []string // what is said of flags that we can't obey, as ssh would say it
	control     string   // -O
	proxied     net.Conn // of -O proxy
	sessions    int      // of Session Manager, if that is the way; see pool
	command     []string

	// From the configuration.
	forwards   []forward.Spec
	noCommand  bool
	noStdin    bool
	quiet      bool
	logLevel   string
	forwarding forward.Config
	exitOnFail bool
	session    sessionArgs
	observer   *observer
}

// parseSSH reads the command line: flags, host, flags, command.
func parseSSH(args []string) (*sshArgs, error) {
	a := new(sshArgs)
	rest, err := a.flags(args)
	if err != nil || len(rest) == 0 {
		return a, err
	}
	if err := a.setHost(rest[0]); err != nil {
		return nil, err
	}
	a.command, err = a.flags(rest[1:])
	a.options = append(a.options, a.tracing.options()...)
	return a, err
}

// flags reads flags up to the first argument that is none.
func (a *sshArgs) flags(args []string) (rest []string, err error) {
	if args, err = spellLong(sshOptions, args); err != nil {
		return nil, err
	}
	opts, rest, err := getopt(sshOptions, args)
	if err != nil {
		return nil, err
	}
	for _, o := range opts {
		if err := a.apply(o); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// setHost reads [user@]host, ssh://[user@]host[:port] or ssm://[user@]target.
func (a *sshArgs) setHost(s string) error {
	if strings.HasPrefix(s, "ssm://") {
		t, command, err := ssmDestination(s)
		t.User = cmp.Or(a.target.User, t.User)
		a.target, a.overrides = t, append(a.overrides, "ProxyCommand="+command)
		return err
	}
	t, ok := sshconfig.ParseTarget(s)
	if !ok || strings.HasPrefix(t.Host, "-") {
		return fmt.Errorf("bad host name %q", s)
	}
	if host, port, found := strings.Cut(t.Host, ":"); found && !strings.Contains(port, ":") {
		return fmt.Errorf("bad host name %q: the port stands apart, as in: adit ssh -p %s %s", s, port, host)
	}
	t.Host = strings.TrimSuffix(strings.TrimPrefix(t.Host, "["), "]")
	t.User = cmp.Or(a.target.User, t.User) // -l before it
	if t.Port != 0 {
		a.options = append(a.options, "Port="+strconv.Itoa(t.Port))
	}
	a.target = t
	return nil
}

// flagRule is what a flag means in ssh_config's words.
type flagRule struct {
	option    string // %s is the flag's value; several are separated by a bar
	overrides bool   // it wins over -o, wherever that stands
	missing   bool   // the feature is not there yet
}

var flagRules = map[byte]flagRule{
	'4': {"AddressFamily=inet", true, false},
	'6': {"AddressFamily=inet6", true, false},
	'N': {"SessionType=none|RequestTTY=no", true, false},
	'T': {"RequestTTY=no", true, false},
	'W': {"SessionType=none|RequestTTY=no", true, false},
	'n': {"StdinNull=yes", true, false},
	'g': {"GatewayPorts=yes", true, false},
	'q': {"LogLevel=QUIET", true, false},
	'b': {"BindAddress=%s", true, false},
	'B': {"BindInterface=%s", true, false},
	'c': {"Ciphers=%s", true, false},
	'm': {"MACs=%s", true, false},
	'a': {"ForwardAgent=no", true, false},
	'A': {"ForwardAgent=yes", true, false},
	'x': {"ForwardX11=no", true, false},
	'k': {"GSSAPIDelegateCredentials=no", true, false},
	'i': {"IdentityFile=%s", false, false},
	'p': {"Port=%s", false, false},
	'P': {"Tag=%s", false, false},
	'L': {"LocalForward=%s", false, false},
	'D': {"DynamicForward=%s", false, false},
	'J': {"ProxyJump=%s", false, false},
	'S': {"ControlPath=%s", true, false},
	'R': {"RemoteForward=%s", false, false},
	'e': {"EscapeChar=%s", true, false},
	'f': {"ForkAfterAuthentication=yes|StdinNull=yes", true, false},
	's': {"SessionType=subsystem", true, false},
	't': {"RequestTTY=yes", true, false},
	'w': {"Tunnel=yes|TunnelDevice=%s", true, false},
	'C': {"Compression=yes", true, false},
	'I': {"PKCS11Provider=%s", true, false},
	'K': {"GSSAPIAuthentication=yes|GSSAPIDelegateCredentials=yes", true, false},
	'X': {"ForwardX11=yes", true, false},
	'Y': {"ForwardX11=yes|ForwardX11Trusted=yes", true, false},
}

func (a *sshArgs) apply(o option) (err error) {
	switch o.letter {
	case 'L':
		_, err = forward.ParseLocal(o.value)
	case 'D':
		_, err = forward.ParseDynamic(o.value)
	case 'R':
		_, err = forward.ParseRemote(o.value)
	case 'W':
		var s forward.Spec
		s, err = forward.ParseStdio(o.value)
		if err == nil && a.control != "" {
			err = errStdioWithControl
		}
		a.stdio = &s
	case 'p':
		if n, perr := strconv.ParseUint(o.value, 10, 16); perr != nil || n == 0 {
			err = fmt.Errorf("bad port %q: a number from 1 to 65535 is due", o.value)
		}
	case 'i':
		if !accessible(o.value) {
			return nil
		}
	case 'M', 'O':
		return a.setControl(o)
	case 'l':
		a.target.User = cmp.Or(a.target.User, o.value)
		return nil
	case 'o':
		if a.tracing.option(o.value) {
			return a.tracing.check()
		}
		if proxy, ok := proxyOption(o.value); ok {
			a.proxy = cmp.Or(a.proxy, proxy)
			return nil
		}
		if way, ok := ownOption(o.value, "AditPushKey"); ok {
			return a.pushKey(way)
		}
		words := strings.FieldsFunc(o.value, func(r rune) bool { return strings.ContainsRune(" \t=\"", r) })
		if a.target.User != "" && len(words) == 2 && strings.EqualFold(words[0], "User") {
			return nil // the first name wins: that of -l or before the @
		}
		a.options = append(a.options, o.value)
		return nil
	case 'F':
		a.file = o.value
		return nil
	case 'G':
		a.print = true
		return nil
	case 'V':
		a.version = true
		return nil
	case 'v':
		a.verbose++
		return nil
	case 'Q':
		a.query = cmp.Or(a.query, o.value)
		return nil
	case 'E':
		a.logFile = o.value
		return nil
	case 'y':
		a.syslog = true
		return nil
	default:
		if done, err := a.applySession(o); done || err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	rule, known := flagRules[o.letter]
	if !known || rule.missing {
		if !known {
			return fmt.Errorf("option -%c is not supported yet", o.letter)
		}
		if a.unsupported == "" {
			a.unsupported = fmt.Sprintf("option -%c is not supported yet", o.letter)
		}
	}
	value := o.value
	if o.letter != 'J' {
		value = sshconfig.Quote(value)
	}
	for line := range strings.SplitSeq(rule.option, "|") {
		line = strings.Replace(line, "%s", value, 1)
		if rule.overrides {
			a.overrides = append([]string{line}, a.overrides...)
		} else {
			a.options = append(a.options, line)
		}
	}
	return nil
}
