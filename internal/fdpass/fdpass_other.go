//go:build !unix

package fdpass

import (
	"errors"
	"os"
	"syscall"
)

var errNone = errors.New("this system can't pass descriptors between programs: leave out --fdpass, and ProxyUseFdpass")

// Check returns an error: there is nothing to pass descriptors over.
func Check(*os.File) error { return errNone }

// Send returns an error.
func Send(*os.File, syscall.Conn) error { return errNone }
