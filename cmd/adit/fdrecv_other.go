//go:build !unix

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func (a *fdrecvArgs) run(*cobra.Command, []string) error {
	return errors.New("this system can't pass descriptors between programs")
}
