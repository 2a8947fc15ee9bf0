//go:build !unix

package rawpipe

import (
	"errors"
	"os"
	"syscall"
)

var errNoPassing = errors.New("this system can't pass descriptors between programs: leave out --fdpass, and ProxyUseFdpass")

// CheckSocket returns an error: there is nothing to pass descriptors over.
func CheckSocket(*os.File) error { return errNoPassing }

// SendSocket returns an error.
func SendSocket(*os.File, syscall.Conn) error { return errNoPassing }

// Gone returns nil: that nobody reads f any more can't be known here.
func Gone(syscall.Conn) <-chan struct{} { return nil }

// CloseOut returns a function that closes f.
func CloseOut(f *os.File) func() error { return f.Close }
