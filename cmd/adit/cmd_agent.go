//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-ssh/adit/sshconfig"
)

const agentHelp = `Holds private keys and signs with them for other programs, with ssh-agent's
command line.

  adit agent [-c | -s] [-Dd] [-a path] [-E md5 | sha256] [-t life]
  adit agent [-a path] [-E md5 | sha256] [-t life] command [argument …]
  adit agent [-c | -s] -k
  adit agent --upstream path [--upstream path …] [any of the above but -t]

Without a command it goes into the background and prints what the shell is to
evaluate:  eval $(adit agent)  Then ssh-add gives it keys. With a command it runs
that, and ends when the command does.

  -a  the socket's path; else one in a new folder for you alone
  -c  print C shell commands, -s Bourne shell commands; else as SHELL suggests
  -D  stay in the foreground; -d the same, and tell what is asked and refused
  -E  how fingerprints are shown: sha256 or md5
  -k  end the agent that SSH_AGENT_PID names
  -t  how long keys are kept that name no time of their own: seconds, or 1h30m
  -O  no-restrict-websafe, websafe-allow=…, allow-remote-pkcs11; -P paths; -T:
      taken for ssh-agent's sake. Tokens and security keys are not held

With --upstream it has no keys, but asks other agents for theirs, and lets each see
only what it can bear: it checks bindings itself, makes a connection for each
request, and asks anew when one is lost. So fragile agents outlive clients that use
one connection for all. Keys are added to the first.

Keys that are to be confirmed (ssh-add -c) are asked about through SSH_ASKPASS.
SIGUSR1 removes all keys. Keys with destinations (ssh-add -h) are used only over
the ways that these allow. While the agent is locked (ssh-add -x), keys are
encrypted with the passphrase.

Called by the name ssh-agent, adit is this.
`

// agentArgs is the command line of `adit agent`.
type agentArgs struct {
	path       string // of the socket; "" makes one
	csh, sh    bool
	kill       bool
	foreground bool // -D
	debug      bool // -d
	md5        bool
	lifetime   time.Duration
	upstreams  []string // agents to ask; none: we are one
	command    []string
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
	a := &agentArgs{command: rest}
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
			known := []string{"no-restrict-websafe", "allow-remote-pkcs11"}
			if !slices.Contains(known, o.value) && !strings.HasPrefix(o.value, "websafe-allow=") {
				return nil, fmt.Errorf("-O %q is not known", o.value)
			}
		case '-':
			a.upstreams = append(a.upstreams, o.value)
		case 'u', 'U':
			return nil, fmt.Errorf("-%c: sockets are not kept in ~/.ssh/agent, so that there are none to clean up", o.letter)
		}
	}
	switch {
	case len(a.upstreams) > 0 && a.lifetime > 0:
		return nil, errors.New("-t is for keys that are held here; with --upstream there are none")
	case a.csh && a.sh:
		return nil, errors.New("-c and -s exclude each other")
	case a.foreground && a.debug:
		return nil, errors.New("-D and -d exclude each other")
	case len(rest) > 0 && (a.csh || a.sh || a.kill || a.foreground || a.debug):
		return nil, errors.New("a command goes without -c, -s, -k, -D and -d")
	case !a.csh && !a.sh:
		a.csh = strings.HasSuffix(os.Getenv("SHELL"), "csh")
	}
	return a, nil
}

// agentOptions is getopt with --upstream PATH and --upstream=PATH, whose letter is
// '-'.
func agentOptions(args []string) (opts []option, rest []string, err error) {
	for {
		more, rest, err := getopt("cDdksTuUE:a:O:P:t:-:", args)
		if err != nil {
			return nil, nil, err
		}
		opts = append(opts, more...)
		separate := false // the path is an argument of its own, at which getopt has stopped
		for i := range opts {
			o := &opts[i]
			name, path, given := strings.Cut(o.value, "=")
			switch {
			case o.letter != '-' || i < len(opts)-len(more):
				continue
			case name != "upstream":
				return nil, nil, fmt.Errorf("unknown option --%.64s", name)
			case !given && i == len(opts)-1 && len(rest) > 0:
				path, separate = rest[0], true
			}
			if path == "" {
				return nil, nil, errors.New("--upstream: the path of an agent's socket is due")
			}
			o.value = path
		}
		if !separate {
			return opts, rest, nil
		}
		args = rest[1:]
	}
}

func runAgent(ctx context.Context, a *agentArgs) error {
	if a.kill {
		return a.end()
	}
	if os.Getenv(agentRole) != "" {
		return a.serveInherited(ctx)
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
