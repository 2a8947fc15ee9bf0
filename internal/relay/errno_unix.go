//go:build unix

package relay

import "syscall"

// errnos is the outcomes table's column for this system's errors.
var errnos = map[syscall.Errno]Outcome{
	syscall.ECONNREFUSED: Refused,
	syscall.EHOSTUNREACH: HostUnreachable,
	syscall.EHOSTDOWN:    HostUnreachable,
	syscall.ENETUNREACH:  NetUnreachable,
	syscall.ENETDOWN:     NetUnreachable,
	syscall.ETIMEDOUT:    TimedOut,
	syscall.EACCES:       Prohibited,
	syscall.EPERM:        Prohibited,
	syscall.EMFILE:       Shortage,
	syscall.ENFILE:       Shortage,
	syscall.ENOBUFS:      Shortage,
	syscall.ENOMEM:       Shortage,
	syscall.EAFNOSUPPORT: Unsupported,
	syscall.ECONNRESET:   Broken,
	syscall.EPIPE:        Broken,
}
