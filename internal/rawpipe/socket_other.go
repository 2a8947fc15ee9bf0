//go:build !unix

package rawpipe

import (
	"os"
	"syscall"
)

// Gone returns nil: that nobody reads f any more can't be known here.
func Gone(syscall.Conn) <-chan struct{} { return nil }

// CloseOut returns a function that closes f.
func CloseOut(f *os.File) func() error { return f.Close }
