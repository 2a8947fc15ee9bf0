package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adit-ssh/adit/internal/doctor"
	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/sshconfig"
)

const doctorHelp = `Makes a connection stage by stage, as adit ssh would with the same command line,
and says of each stage whether it works; for the first that fails, what it means
and what to do. Nothing is changed: nobody is asked, no key is accepted, nothing
is forwarded; a forward's target is connected to for a moment. ConnectTimeout bounds
each stage; 10 seconds without it.

  adit doctor [--json] [--as gui] [flags of adit ssh] [user@]host

  --as gui  in the surroundings of a program started from the desktop: hardly any
            environment, no terminal, a short PATH, and what libssh can do
  --json    print one JSON object: host, target, as, ok, exit_status, failed,
            meaning, fix, and checks: stage, subject, status (ok, warning, failed,
            skipped), ms, text, details, meaning, fix

The exit status is 0, or that of the stage that failed first:

  1 configuration    5 version        9 login
  2 name             6 negotiation   10 agent
  3 address          7 key exchange  11 forward
  4 proxy            8 host key      12 idle        13 gui
  255 a mistake on the command line, or an interrupt

For example:

  adit doctor db
  adit doctor -p 2222 -L 5432:db.internal:5432 you@bastion
  adit doctor --as gui db
`

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "doctor [flags] [user@]host",
		Short:              "Say which stage of a connection fails, why, and what to do",
		Long:               doctorHelp,
		DisableFlagParsing: true,
		RunE:               runDoctor,
	}
}

func runDoctor(cmd *cobra.Command, args []string) error {
	var asJSON, gui bool
	for len(args) > 0 && strings.HasPrefix(args[0], "--") && args[0] != "--" {
		switch arg := args[0]; {
		case arg == "--help":
			_, err := fmt.Fprint(cmd.OutOrStdout(), doctorHelp)
			return err
		case arg == "--json":
			asJSON = true
		case arg == "--as=gui":
			gui = true
		case arg == "--as" && len(args) > 1 && args[1] == "gui":
			gui, args = true, args[1:]
		case arg == "--as", strings.HasPrefix(arg, "--as="):
			return &usageError{"doctor", errors.New("--as knows gui only")}
		default:
			return &usageError{"doctor", fmt.Errorf("unknown flag: %s", arg)}
		}
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "-h" {
		_, err := fmt.Fprint(cmd.OutOrStdout(), doctorHelp)
		return err
	}
	a, err := parseSSH(args)
	switch {
	case err != nil:
		return &usageError{"doctor", err}
	case a.target.Host == "":
		return &usageError{"doctor", errors.New("no host is given")}
	case len(a.command) > 0:
		return &usageError{"doctor", fmt.Errorf("unexpected argument %q: --json and --as stand before the host", a.command[0])}
	}
	surroundings := takeSurroundings()
	if gui && surroundings == nil {
		return runAsGUI(cmd, asJSON, args)
	}
	os.Setenv("SSH_ASKPASS_REQUIRE", "never") // nobody is asked, not for a proxy's password either
	r := doctor.Run(cmd.Context(), doctor.Options{
		Complete: func(o *setup.Options) error {
			o.Route.Own = examinedCommand
			return a.throughProxy(cmd.Context(), o)
		},
		SSH: sshconfig.Options{Host: a.target.Host, RemoteUser: a.target.User, File: a.file,
			CommandLine: slices.Concat(a.overrides, a.options), Stdio: a.stdio != nil},
		GUI: surroundings,
	})
	if err := cmd.Context().Err(); err != nil {
		return exitError(255)
	}
	show := r.Text
	if asJSON {
		show = r.JSON
	}
	if err := show(cmd.OutOrStdout()); err != nil {
		return err
	}
	if status := r.ExitStatus(); status != 0 {
		return exitError(status)
	}
	return nil
}

// Which variables tell a doctor in a GUI's surroundings what its person has
// otherwise.
const (
	guiMark     = "ADIT_DOCTOR_GUI"
	guiAuthSock = "ADIT_DOCTOR_AUTH_SOCK"
	guiPath     = "ADIT_DOCTOR_PATH"
)

// takeSurroundings returns what runAsGUI left behind, and takes it out of the
// environment.
func takeSurroundings() *doctor.Surroundings {
	if os.Getenv(guiMark) == "" {
		return nil
	}
	s := &doctor.Surroundings{AuthSock: os.Getenv(guiAuthSock), Path: os.Getenv(guiPath)}
	for _, name := range []string{guiMark, guiAuthSock, guiPath} {
		os.Unsetenv(name)
	}
	return s
}

// runAsGUI runs the same in a process that has what a program has which was
// started from the desktop: no terminal and hardly any environment.
func runAsGUI(cmd *cobra.Command, asJSON bool, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("this program: %w", err)
	}
	flags := []string{"doctor", "--as", "gui"}
	if asJSON {
		flags = append(flags, "--json")
	}
	c := withoutTerminal(cmd.Context(), self, slices.Concat(flags, args)...)
	c.Args[0] = os.Args[0]
	c.Stdout, c.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	c.Env = []string{"PATH=" + doctor.GUIPath, guiMark + "=1", guiAuthSock + "=" + os.Getenv("SSH_AUTH_SOCK"), guiPath + "=" + os.Getenv("PATH")}
	for _, name := range []string{"HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "SYSTEMROOT", "USERPROFILE", "LOCALAPPDATA", "GORACE", "GOCOVERDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			c.Env = append(c.Env, name+"="+v)
		}
	}
	status, err := exitStatusOfChild(c.Run())
	switch {
	case cmd.Context().Err() != nil:
		return exitError(255)
	case err != nil:
		return fmt.Errorf("run as a program from the desktop: %w", err)
	case status != 0:
		return exitError(status)
	}
	return nil
}
