//go:build !unix

package forward

import "os"

// shutdownFile has nothing to do: files are no sockets here.
func shutdownFile(*os.File) {}
