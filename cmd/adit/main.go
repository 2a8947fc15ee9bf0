// Command adit reaches what only an SSH server can reach. `adit help` lists its
// verbs; each has a file of its own here, cmd_<verb>.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is what `adit --version` and `adit ssh -V` print.
const version = "0.1"

func main() {
	ctx, stop := signalContext()
	endProfile := profile()
	code := run(ctx, os.Args[1:])
	endProfile()
	stop()
	os.Exit(code)
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

// signalContext returns a context that the first SIGINT or SIGTERM ends, with a
// signalError as its cause. The second one kills, whatever still holds us.
func signalContext() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the program, or at its first signal
		s := <-signals
		signal.Stop(signals)
		cancel(signalError{s})
	}()
	return ctx, func() { cancel(nil) }
}

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
	root.AddCommand(sshCommand(), connectCommand(), fdrecvCommand(), configCommand(), doctorCommand(), serveCommand(), demoCommand())
	if pump := pumpCommand(); pump != nil {
		root.AddCommand(pump)
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
