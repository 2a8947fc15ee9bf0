//go:build unix

package agent

import "syscall"

// nonblocking keeps a named pipe that nobody reads from holding us up.
const nonblocking = syscall.O_NONBLOCK

// hasModes says whether files have permissions that tell others apart.
const hasModes = true
