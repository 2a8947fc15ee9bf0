package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/adit-ssh/adit/internal/setup"
)

// accessible tells whether -i names a file. One that is not there leaves the other
// identities as they are, as with ssh, which says so in these words (ssh.c, main).
func accessible(identity string) bool {
	identity = setup.Expand(identity)
	_, err := os.Stat(identity)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if err != nil {
		why := err.Error()
		fmt.Fprintf(os.Stderr, "Warning: Identity file %s not accessible: %s.\n", identity, strings.ToUpper(why[:1])+why[1:])
	}
	return err == nil
}
