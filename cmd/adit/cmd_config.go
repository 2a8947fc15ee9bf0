package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/adit-ssh/adit/internal/setup"
	"github.com/adit-ssh/adit/sshconfig"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Look at ssh_config files",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(explainCommand())
	return cmd
}

func explainCommand() *cobra.Command {
	var asJSON, set bool
	o := sshconfig.Options{}
	cmd := &cobra.Command{
		Use:   "explain [flags] [user@]host [command]",
		Short: "Tell what holds for a host, and which line of which file says so",
		Long: `Reads the configuration as "adit ssh" does and prints every value with the place
that set it, then each Host and Match line with what decided it. Nothing is
connected to; commands of Match exec are run.`,
		Example: `  adit config explain db
  adit config explain --set db
  adit config explain --json db | jq '.values[] | select(.keyword == "User")'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{verbOf(cmd), errors.New("no host is given")}
			}
			a := new(sshArgs)
			if err := a.setHost(args[0]); err != nil {
				return &usageError{verbOf(cmd), err}
			}
			o.Host, o.RemoteUser = a.target.Host, a.target.User
			o.CommandLine = append(o.CommandLine, a.options...)
			o.Command = strings.Join(args[1:], " ")
			c, err := setup.LoadConfig(cmd.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				return explainJSON(cmd.OutOrStdout(), c)
			}
			return explain(cmd.OutOrStdout(), c, set)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	f.BoolVar(&set, "set", false, "leave out what holds by default")
	f.StringVarP(&o.File, "file", "F", "", `read this file instead of ~/.ssh/config and the system's; "none" reads none`)
	f.StringArrayVarP(&o.CommandLine, "option", "o", nil, "an option that goes before the files, as with ssh")
	return cmd
}

// explain prints tables for people.
func explain(w io.Writer, c *sshconfig.Config, set bool) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, v := range c.Values() {
		if set && v.Origin == (sshconfig.Origin{}) {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", v.Keyword, v.Origin, v.Text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i, b := range c.Blocks {
		switch {
		case i == 0:
			fmt.Fprintf(w, "\nblocks\n")
		case b.Pass != c.Blocks[i-1].Pass:
			fmt.Fprintf(w, "\nblocks, read again with the host name %s\n", c.HostName)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", b.Origin, matchWord(b.Matched), b.Text, b.Reason)
		if i+1 == len(c.Blocks) || c.Blocks[i+1].Pass != b.Pass {
			if err := t.Flush(); err != nil {
				return err
			}
		}
	}
	for _, text := range explainWarnings(c) {
		fmt.Fprintf(w, "\nwarning: %s\n", text)
	}
	return nil
}

func matchWord(matched bool) string {
	if matched {
		return "applies"
	}
	return "no"
}

// explainWarnings adds to the warnings what would keep a connection from being
// made.
func explainWarnings(c *sshconfig.Config) (texts []string) {
	for _, w := range c.Warnings {
		texts = append(texts, w.String())
	}
	if err := c.Check(); err != nil {
		texts = append(texts, err.Error())
	}
	return texts
}

// place is an origin in JSON.
type place struct {
	Origin string `json:"origin"` // "default", "command line" or file:line
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
}

func placeOf(o sshconfig.Origin) place { return place{o.String(), o.File, o.Line} }

func explainJSON(w io.Writer, c *sshconfig.Config) error {
	type value struct {
		Keyword string `json:"keyword"`
		Value   string `json:"value"`
		place
	}
	type block struct {
		Text    string `json:"text"`
		Pass    int    `json:"pass"`
		Matched bool   `json:"matched"`
		Reason  string `json:"reason"`
		place
	}
	out := struct {
		Host     string   `json:"host"`
		Values   []value  `json:"values"`
		Blocks   []block  `json:"blocks"`
		Warnings []string `json:"warnings"`
	}{Host: c.Host, Values: []value{}, Blocks: []block{}, Warnings: append([]string{}, explainWarnings(c)...)}
	for _, v := range c.Values() {
		out.Values = append(out.Values, value{v.Keyword, v.Text, placeOf(v.Origin)})
	}
	for _, b := range c.Blocks {
		out.Blocks = append(out.Blocks, block{b.Text, b.Pass, b.Matched, b.Reason, placeOf(b.Origin)})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}
