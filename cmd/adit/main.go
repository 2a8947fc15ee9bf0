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
	"syscall"

	"github.com/spf13/cobra"
)

// version is what `adit --version` and `adit ssh -V` print.
const version = "0.1"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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

// exitError ends the program with a status, its message having been told.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func run(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:           "adit",
		Short:         "Reach what only an SSH server can reach",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(sshCommand(), serveCommand(), demoCommand())
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	if err != nil {
		tell(err)
		return 255
	}
	return 0
}
