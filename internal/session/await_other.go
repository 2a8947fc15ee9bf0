//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package session

import "os"

// AwaitInput does not wait.
func AwaitInput(*os.File) {}
