//go:build !unix

package rawpipe

import "os"

// Output is standard output.
type Output struct{ f *os.File }

// Watch returns f as an Output.
func Watch(f *os.File) *Output { return &Output{f} }

// Gone returns nil: that nobody reads any more can't be known here.
func (o *Output) Gone() <-chan struct{} { return nil }

// CloseWrite closes the file, which tells who reads that nothing more comes.
func (o *Output) CloseWrite() error { return o.f.Close() }
