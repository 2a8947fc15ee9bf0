//go:build !unix

package dial

import "os"

// copyOf returns the file itself: there is no other descriptor to be had.
func copyOf(f *os.File) (*os.File, error) { return f, nil }

func sending(w writer) writer { return w }
