// Command adit reaches what only an SSH server can reach. `adit help` lists its
// verbs; each has a file of its own here, cmd_<verb>.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-ssh/adit/internal/procs"
)

// version is what `adit --version`, `adit ssh -V` and `adit agent -V` print.
const version = "0.1"

func main() {
	ctx, stop := signalContext()
	hurryStart()
	procs.Govern()
	endProfile := profile()
	code := run(ctx, commandLine(os.Args))
	endProfile()
	stop()
	os.Exit(code)
}

// startTime is how long garbage may pile up, to four times the usual 4 MiB: a login
// is over by then, and many a run too. To collect it takes a fifth of their CPU.
const startTime = 5 * time.Second

func hurryStart() {
	if os.Getenv("GOGC") != "" {
		return
	}
	usual := debug.SetGCPercent(400)
	time.AfterFunc(startTime, func() { debug.SetGCPercent(usual) })
}

// commandLine is adit's, without its name. Under the name ssh, by a link or a
// copy, adit is `adit ssh`, for programs that take only an ssh's path (scp -S), and
// under the name ssh-agent `adit agent`.
func commandLine(args []string) []string {
	switch filepath.Base(args[0]) {
	case "ssh", "ssh.exe":
		return append([]string{"ssh"}, args[1:]...)
	case "ssh-agent":
		return append([]string{"agent"}, args[1:]...)
	}
	return args[1:]
}

// profile writes a CPU profile to the file that ADIT_CPUPROFILE names, for
// `make bench ARGS=-profile=…`. It returns what ends it.
func profile() (end func()) {
	name := os.Getenv("ADIT_CPUPROFILE")
	if name == "" {
		return func() {}
	}
	f, err := os.Create(name)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		tell(fmt.Errorf("ADIT_CPUPROFILE: %w", err))
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}
}

// signalError is the signal that asked the program to end.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return "ended by signal: " + e.String() }

// ending receives the signals that ask the program to end.
var ending = make(chan os.Signal, 1)

// signalContext returns a context that the first signal which asks to end ends,
// with a signalError as its cause. The second one kills, whatever still holds us.
// Signals that whoever started us ignores are ignored (OpenSSH, clientloop.c).
func signalContext() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(ending, s)
		}
	}
	go func() { // ends with the program, or at its first signal
		s := <-ending
		signal.Stop(ending)
		cancel(signalError{s})
	}()
	return ctx, func() { cancel(nil) }
}

// ignoreInterrupts has SIGINT do nothing until heed is called.
func ignoreInterrupts() (heed func()) {
	if signal.Ignored(os.Interrupt) {
		return func() {}
	}
	signal.Ignore(os.Interrupt)
	return func() { signal.Notify(ending, os.Interrupt) }
}

// heedBrokenPipes has writes to a pipe that nobody reads fail, instead of ending
// the program. Programs that we start are not told.
func heedBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// exitError ends the program with a status, its message having been told.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is a mistake on the command line of a verb.
type usageError struct {
	verb string // "" is adit itself
	err  error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// run runs a command line and returns the exit status, which for all errors of
// ours is OpenSSH's 255.
func run(ctx context.Context, args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	if _, ok := errors.AsType[signalError](err); !ok { // who sent it knows
		tell(err)
	}
	return 255
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "adit",
		Short:         "Reach what only an SSH server can reach",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{verbOf(cmd), err} })
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [verb]",
		Short: "Help about any verb",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err == nil && cmd == root {
				err = knownVerb(root, rest)
			}
			if err != nil {
				return err
			}
			cmd.InitDefaultHelpFlag()
			cmd.InitDefaultVersionFlag()
			return cmd.Help()
		},
	})
	root.AddCommand(sshCommand(), connectCommand(), ssmCommand(), fdrecvCommand(), configCommand(), doctorCommand(), serveCommand(), demoCommand(), traceCommand())
	for _, c := range []*cobra.Command{agentCommand(), pumpCommand()} { // not on all systems
		if c != nil {
			root.AddCommand(c)
		}
	}
	return root
}

// knownVerb refuses the argument of adit itself, which is a verb misspelled.
func knownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown verb %q", args[0])
	if root.SuggestionsMinimumDistance = 2; len(root.SuggestionsFor(args[0])) > 0 {
		err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(root.SuggestionsFor(args[0]), " or "))
	}
	return &usageError{"", err}
}

// noArguments refuses arguments that are no flags.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{verbOf(cmd), fmt.Errorf("unexpected argument %q", args[0])}
}

func verbOf(cmd *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "adit"), " ")
}
