//go:build !unix

package relay

import "io"

// lazyReader reports false: waiting without a buffer takes readiness, which
// completion-based systems don't tell.
func lazyReader(io.Reader) (func() (*[bufferSize]byte, int, error), bool) { return nil, false }
