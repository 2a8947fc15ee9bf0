//go:build !linux

package mux

import "io"

func newSource(r io.Reader) source { return readerSource{r} }

func newSink(io.Writer) sink { return nil }
