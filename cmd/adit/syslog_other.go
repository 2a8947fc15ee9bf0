//go:build !unix

package main

import (
	"errors"
	"io"
)

// openSyslog has nothing to open.
func openSyslog(string) (io.Writer, error) { return nil, errors.New("there is no system log here") }
