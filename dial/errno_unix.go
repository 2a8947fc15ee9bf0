//go:build unix

package dial

import "syscall"

const (
	refusedErrno = syscall.ECONNREFUSED
	timeoutErrno = syscall.ETIMEDOUT
)

var unreachableErrnos = []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EADDRNOTAVAIL}
