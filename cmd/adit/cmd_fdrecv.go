package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const fdrecvHelp = `Runs a helper for ProxyUseFdpass as ssh does, with one end of a socket pair as its
standard input and output, receives the descriptor that it passes and tells what
it is. One argument is a command for the shell, as in ssh_config; several are a
program and its arguments.

With --relay, standard input and output are then connected to the descriptor, and
what is told goes to standard error.

The exit status is 0 when a descriptor came, whatever the helper's is: ssh does
not mind that either.`

// fdrecvArgs is the command line of `adit fdrecv`.
type fdrecvArgs struct {
	relay, json bool
	timeout     time.Duration
}

func fdrecvCommand() *cobra.Command {
	a := new(fdrecvArgs)
	cmd := &cobra.Command{
		Use:   "fdrecv [flags] COMMAND [ARG…]",
		Short: "Receive a connection from a ProxyUseFdpass helper, and tell what it is",
		Long:  fdrecvHelp,
		Example: `  adit fdrecv adit connect --fdpass localhost 22
  adit fdrecv --json 'nc -F localhost 22' | jq .peer
  adit fdrecv --relay nc -F -x proxy:1080 localhost 22`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{verbOf(cmd), errors.New("COMMAND is due")}
			}
			if a.timeout <= 0 {
				return &usageError{verbOf(cmd), fmt.Errorf("bad --timeout %v: more than 0 is due", a.timeout)}
			}
			return a.run(cmd, args)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // the helper's flags are its own
	f.BoolVar(&a.relay, "relay", false, "connect standard input and output to the descriptor")
	f.BoolVar(&a.json, "json", false, "print one JSON object")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "how long the helper may take until it has ended; ssh waits for ever")
	return cmd
}

// received is what `adit fdrecv` tells.
type received struct {
	Command    []string `json:"command"`
	ExitStatus int      `json:"exit_status"` // of the helper; -1 when it was killed
	Ended      string   `json:"ended"`       // in words
	Seconds    float64  `json:"seconds"`     // until it had ended
	// Bytes came with and behind the descriptor; one is due.
	Bytes int `json:"bytes"`
	// Descriptors came in all; one is due, and ssh takes the first.
	Descriptors int `json:"descriptors"`
	// Of the first descriptor. Addresses are "" for what has none.
	Kind        string `json:"kind,omitempty"`   // "stream socket", "pipe", …
	Family      string `json:"family,omitempty"` // "inet", "inet6", "unix"
	Local       string `json:"local,omitempty"`
	Peer        string `json:"peer,omitempty"`
	CloseOnExec bool   `json:"close_on_exec"`
	NonBlocking bool   `json:"non_blocking"`
	Pending     int    `json:"pending_bytes"` // that can be read at once
	Text        string `json:"text,omitempty"`
}

// print prints r for people, or as JSON.
func (r *received) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if r.Descriptors > 0 {
		fmt.Fprintf(t, "descriptor\t%s, %s\n", r.Kind, orDash(r.Family))
		fmt.Fprintf(t, "local\t%s\n", orDash(r.Local))
		fmt.Fprintf(t, "peer\t%s\n", orDash(r.Peer))
		fmt.Fprintf(t, "close-on-exec\t%s\n", yesNo(r.CloseOnExec))
		fmt.Fprintf(t, "non-blocking\t%s\n", yesNo(r.NonBlocking))
		fmt.Fprintf(t, "waiting\t%d bytes\n", r.Pending)
	}
	fmt.Fprintf(t, "helper\t%s, after %.3f s\n", r.Ended, r.Seconds)
	fmt.Fprintf(t, "passed\t%d descriptors, %d bytes\n", r.Descriptors, r.Bytes)
	if r.Text != "" {
		fmt.Fprintf(t, "text\t%q\n", r.Text)
	}
	return t.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// errNoDescriptor is ssh's "proxy dialer did not pass back a connection".
var errNoDescriptor = errors.New("the helper passed no descriptor")
