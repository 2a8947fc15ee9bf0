//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-ssh/adit/sshconfig"
)

const agentHelp = `Holds private keys and signs with them for other programs, with ssh-agent's
command line.

  adit agent [-c | -s] [-DdTU] [-a path] [-E md5 | sha256] [-t life]
  adit agent [-TU] [-a path] [-E md5 | sha256] [-t life] command [argument …]
  adit agent [-c | -s] -k
  adit agent -u
  adit agent --upstream path [--upstream path …] [any of the above but -t, -O, -P]
  adit agent --trace file [any of the above]

Without a command it goes into the background and prints what the shell is to
evaluate:  eval $(adit agent)  Then ssh-add gives it keys. With a command it runs
that, and ends when the command does.

  -a  the socket's path; else one in ~/.ssh/agent
  -c  print C shell commands, -s Bourne shell commands; else as SHELL suggests
  -D  stay in the foreground; -d the same, and tell what is asked and refused
  -E  how fingerprints are shown: sha256 or md5
  -k  end the agent that SSH_AGENT_PID names
  -t  how long keys are kept that name no time of their own: seconds, or 1h30m
  -V  print the version
  -T  have the socket in a new folder below TMPDIR
  -u  remove sockets from ~/.ssh/agent that agents of this host have left there
      for an hour, and end; -uu of any host. -U: do not do so before starting
  -O  no-restrict-websafe: security keys that are for web sites sign anything;
      websafe-allow=patterns: those for these applications do
      allow-remote-pkcs11: libraries may be named by who is at another host
  -P  which libraries of tokens and security keys may be loaded: patterns;
      else /usr/lib*/*,/usr/local/lib*/*

With --upstream it has no keys, but asks other agents for theirs, and lets each see
only what it can bear: it checks bindings itself, makes a connection for each
request, and asks anew when one is lost. So fragile agents outlive clients that use
one connection for all. Keys are added to the first; those that may be used in some
ways only (ssh-add -c, -h, -t), if it is known to see to that, as ssh-agent is: GnuPG's
says yes, and lets them be used for anything.

Which keys are shown and used, where, and who is told:

  --allow rule, --deny rule   the first that applies decides; if none does, keys
        are hidden if there is any --allow. A rule has conditions, all of which
        must hold; each has patterns with * and ?, separated by commas:
          key=SHA256:…  type=ssh-ed25519  comment=work*
          user=deploy   host=*.example.com    namespace=git (ssh-keygen -Y)
          via=bastion   over this host; via=a>b over two, via=... over any
                        number; via=. from here
        Hosts have the names that known_hosts has for their keys, or SHA256:…
  --rules file                the same, a line each: allow … or deny …
  --known-hosts file          instead of ~/.ssh/known_hosts and the system's
  --confirm-forwarded         ask a person about each use from another host
  --audit file                append a line of JSON for each request, and for each
                              key that a lifetime or SIGUSR1 removes; requests
                              that can't be written there are refused
  --trace file[,conn|packet]  record what is asked and decided (adit trace --help):
                              fingerprints and names, never keys or passphrases

People are asked through SSH_ASKPASS, which also ssh-add -c does. SIGUSR1 removes
all keys. Keys with destinations (ssh-add -h) are used only over the ways that these
allow. While the agent is locked (ssh-add -x), keys are encrypted with the
passphrase.

Security keys (ed25519-sk, ecdsa-sk) and PKCS#11 tokens (ssh-add -s) are used
through OpenSSH's ssh-sk-helper and ssh-pkcs11-helper, where those are installed, or
the programs that SSH_SK_HELPER and SSH_PKCS11_HELPER name. To touch a key, and for
its PIN, you are asked through SSH_ASKPASS.

Called by the name ssh-agent, adit is this.
`

// agentArgs is the command line of `adit agent`.
type agentArgs struct {
	path       string // of the socket; "" makes one
	csh, sh    bool
	kill       bool
	cleanUp    int  // -u, or -uu
	keepStale  bool // -U
	temporary  bool // -T
	version    bool // -V
	foreground bool // -D
	debug      bool // -d
	md5        bool
	lifetime   time.Duration
	upstreams  []string // agents to ask; none: we are one
	record     tracing
	command    []string
	guard      agentGuard
	devices    tokenArgs
	asking     chan struct{} // holds one while a person is asked to confirm
}

// agentCommand returns nil where there are no unix sockets to serve.
func agentCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "agent [flags] [command]",
		Short:              "Hold keys and sign with them as ssh-agent does",
		Long:               agentHelp,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
				fmt.Print(agentHelp)
				return nil
			}
			a, err := parseAgent(args)
			if err != nil {
				return &usageError{"agent", err}
			}
			return runAgent(cmd.Context(), a)
		},
	}
}

// parseAgent reads ssh-agent's command line (ssh-agent(1)).
func parseAgent(args []string) (*agentArgs, error) {
	opts, rest, err := agentOptions(args)
	if err != nil {
		return nil, err
	}
	a := &agentArgs{command: rest, asking: make(chan struct{}, 1)}
	for _, o := range opts {
		switch o.letter {
		case 'a':
			a.path = o.value
		case 'c':
			a.csh = true
		case 's':
			a.sh = true
		case 'k':
			a.kill = true
		case 'D':
			a.foreground = true
		case 'd':
			a.debug = true
		case 'E':
			if a.md5 = strings.EqualFold(o.value, "md5"); !a.md5 && !strings.EqualFold(o.value, "sha256") {
				return nil, fmt.Errorf("-E %q: md5 or sha256 is due", o.value)
			}
		case 't':
			if a.lifetime, err = sshconfig.ParseTime(o.value); err != nil {
				return nil, fmt.Errorf("-t: %w", err)
			}
		case 'O':
			if !a.devices.option(o.value) {
				return nil, fmt.Errorf("-O %q is not known: no-restrict-websafe, websafe-allow=PATTERNS or allow-remote-pkcs11 is due", o.value)
			}
		case 'u':
			a.cleanUp++
		case 'U':
			a.keepStale = true
		case 'T':
			a.temporary = true
		case 'V':
			a.version = true
		case 'P':
			a.devices.providers = o.value
		case '-':
			name, value, _ := strings.Cut(o.value, "=")
			switch name {
			case "upstream":
				a.upstreams = append(a.upstreams, value)
			case "trace":
				a.record.file = value
			default:
				if err := a.guard.option(name, value); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := a.record.checkFor("an agent's messages"); err != nil {
		return nil, err
	}
	if err := a.guard.complete(); err != nil {
		return nil, err
	}
	switch {
	case len(a.upstreams) > 0 && a.devices != (tokenArgs{}):
		return nil, errors.New("-O and -P are about libraries that are loaded here; with --upstream the agent behind decides")
	case len(a.upstreams) > 0 && a.lifetime > 0:
		return nil, errors.New("-t is for keys that are held here; with --upstream there are none")
	case a.csh && a.sh:
		return nil, errors.New("-c and -s exclude each other")
	case a.foreground && a.debug:
		return nil, errors.New("-D and -d exclude each other")
	case len(rest) > 0 && (a.csh || a.sh || a.kill || a.foreground || a.debug || a.cleanUp > 0):
		return nil, errors.New("a command goes without -c, -s, -k, -D, -d and -u")
	case !a.csh && !a.sh:
		a.csh = strings.HasSuffix(os.Getenv("SHELL"), "csh")
	}
	return a, nil
}

// agentLongOptions are those that a getopt of letters does not know; true: with a
// value.
var agentLongOptions = map[string]bool{
	"upstream": true, "allow": true, "deny": true, "rules": true, "known-hosts": true, "audit": true, "trace": true, "confirm-forwarded": false,
}

// agentOptions is getopt with --NAME, --NAME VALUE and --NAME=VALUE: options whose
// letter is '-', and whose value is NAME=VALUE.
func agentOptions(args []string) (opts []option, rest []string, err error) {
	for {
		more, rest, err := getopt("cDdksTuUVE:a:O:P:t:-:", args)
		if err != nil {
			return nil, nil, err
		}
		separate := false // the value is an argument of its own, at which getopt has stopped
		for i := range more {
			o := &more[i]
			if o.letter != '-' {
				continue
			}
			name, value, given := strings.Cut(o.value, "=")
			takes, known := agentLongOptions[name]
			switch {
			case !known:
				return nil, nil, fmt.Errorf("unknown option --%.64s", name)
			case !takes && given:
				return nil, nil, fmt.Errorf("--%s takes no value", name)
			case !takes:
				continue
			case !given && i == len(more)-1 && len(rest) > 0:
				value, separate = rest[0], true
			}
			if value == "" {
				return nil, nil, fmt.Errorf("--%s: a value is due", name)
			}
			o.value = name + "=" + value
		}
		opts = append(opts, more...)
		if !separate {
			return opts, rest, nil
		}
		args = rest[1:]
	}
}

func runAgent(ctx context.Context, a *agentArgs) error {
	switch {
	case a.version:
		fmt.Fprintf(os.Stderr, "adit_%s\n", version)
		return nil
	case a.kill:
		return a.end()
	case a.cleanUp > 0:
		return cleanUpSockets(a.cleanUp > 1)
	}
	if os.Getenv(agentRole) != "" {
		return a.serveInherited(ctx)
	}
	if a.guard.audit != nil {
		if err := a.guard.audit.Check(); err != nil {
			return fmt.Errorf("--audit: %w", err)
		}
	}
	s, err := a.listen()
	if err != nil {
		return err
	}
	if a.foreground || a.debug {
		a.announce(s.path, os.Getpid())
		return a.serve(ctx, s)
	}
	pid, err := a.startBehind(s)
	if err != nil {
		s.remove()
		return err
	}
	if len(a.command) == 0 {
		a.announce(s.path, pid)
		return nil
	}
	return a.become(s.path, pid)
}

// announce prints what the shell is to evaluate.
func (a *agentArgs) announce(path string, pid int) {
	if a.csh {
		fmt.Printf("setenv SSH_AUTH_SOCK %s;\n", shellWord(path))
		if pid > 0 && !a.foreground && !a.debug {
			fmt.Printf("setenv SSH_AGENT_PID %d;\n", pid)
		}
	} else {
		fmt.Printf("SSH_AUTH_SOCK=%s; export SSH_AUTH_SOCK;\n", shellWord(path))
		if pid > 0 && !a.foreground && !a.debug {
			fmt.Printf("SSH_AGENT_PID=%d; export SSH_AGENT_PID;\n", pid)
		}
	}
	fmt.Printf("echo Agent pid %d;\n", pid)
}

// shellWord quotes a path that a shell would read otherwise.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:@,%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// How long -k waits until the agent has removed its socket, and how often it looks.
const (
	killPatience = time.Second
	killInterval = 5 * time.Millisecond
)

// end is -k.
func (a *agentArgs) end() error {
	text := os.Getenv("SSH_AGENT_PID")
	if text == "" {
		return errors.New("SSH_AGENT_PID is not set, so that no agent can be ended")
	}
	pid, err := strconv.Atoi(text)
	if err != nil || pid < 1 {
		return fmt.Errorf("SSH_AGENT_PID %q is not a process", text)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("end the agent, process %d: %w", pid, err)
	}
	// So that the next one can have its socket's path.
	for range killPatience / killInterval {
		if _, err := os.Lstat(os.Getenv("SSH_AUTH_SOCK")); err != nil || syscall.Kill(pid, 0) != nil {
			break
		}
		time.Sleep(killInterval)
	}
	unset := "unset %s;\n"
	if a.csh {
		unset = "unsetenv %s;\n"
	}
	fmt.Printf(unset, "SSH_AUTH_SOCK")
	fmt.Printf(unset, "SSH_AGENT_PID")
	fmt.Printf("echo Agent pid %d killed;\n", pid)
	return nil
}
