package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-ssh/adit/dial/ssm"
)

const ssmListHelp = `Lists the nodes that Session Manager manages in a region and account: what
"adit ssm" can reach if the status is Online. It takes the permission
ssm:DescribeInstanceInformation; and tag:GetResources for tags, and for the names of
instances, which are a tag. Without the second they are left out.`

// listCommand is `adit ssm ls`.
func (a *ssmArgs) listCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "ls [flags]",
		Short: "List the nodes that Session Manager manages",
		Long:  ssmListHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := noArguments(cmd, args); err != nil {
				return err
			}
			nodes, denied, err := a.nodes(cmd.Context())
			if err != nil {
				return err
			}
			if denied != nil {
				fmt.Fprintf(os.Stderr, "adit: notice: without tags: %v\n", denied)
			}
			if asJSON {
				e := json.NewEncoder(os.Stdout)
				e.SetIndent("", "  ")
				return e.Encode(append([]ssm.Node{}, nodes...))
			}
			if len(nodes) == 0 {
				fmt.Fprintln(os.Stderr, "adit: there are no managed nodes in this region and account")
			}
			return printNodes(nodes)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	a.configFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	return cmd
}

// nodes are those of the region, those that are online first. denied is why they have
// no tags.
func (a *ssmArgs) nodes(ctx context.Context) (nodes []ssm.Node, denied, err error) {
	s, err := ssm.Load(ctx, a.config)
	if err != nil {
		return nil, nil, err
	}
	nodes, err = s.Nodes(ctx)
	if err == nil && len(nodes) > 0 {
		denied = s.Tags(ctx, nodes)
	}
	slices.SortFunc(nodes, func(x, y ssm.Node) int {
		return cmp.Or(cmp.Compare(fmt.Sprint(y.Online()), fmt.Sprint(x.Online())), cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID))
	})
	return nodes, denied, err
}

func printNodes(nodes []ssm.Node) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSTATUS\tAGENT\tADDRESS\tPLATFORM\tTAGS")
	for _, n := range nodes {
		cells := []string{n.ID, cmp.Or(n.Name, n.Computer), n.Status, n.AgentVersion, n.IP, n.Platform, tagText(n.Tags)}
		for i, c := range cells {
			cells[i] = cmp.Or(strings.TrimSpace(printable(c)), "-")
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// tagText is a person's own tags but the name, in order, as KEY=VALUE.
func tagText(tags map[string]string) string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if k != "Name" && !strings.HasPrefix(k, "aws:") {
			words = append(words, k+"="+tags[k])
		}
	}
	return strings.Join(words, " ")
}

// completeTimeout is how long a person who presses Tab waits.
const completeTimeout = 3 * time.Second

// complete completes TARGET: aliases, then nodes.
func (a *ssmArgs) complete(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	words := a.aliases(ctx, begun)
	nodes, _, err := a.nodes(ctx)
	if err != nil {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	for _, n := range nodes {
		if !n.Online() {
			continue
		}
		name := printable(cmp.Or(n.Name, n.Computer, n.IP))
		if strings.HasPrefix(n.ID, begun) {
			words = append(words, printable(n.ID)+"\t"+name)
		}
		if name != "" && strings.HasPrefix(name, begun) && ssmTargets().MatchString(name) {
			words = append(words, name+"\t"+printable(n.ID))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
