//go:build !unix

package main

import "github.com/spf13/cobra"

// agentCommand returns nil: there are no unix sockets to serve.
func agentCommand() *cobra.Command { return nil }
