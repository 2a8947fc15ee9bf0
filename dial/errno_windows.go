package dial

import (
	"syscall"

	"golang.org/x/sys/windows"
)

const (
	refusedErrno = windows.WSAECONNREFUSED
	timeoutErrno = windows.WSAETIMEDOUT
)

var unreachableErrnos = []syscall.Errno{windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAENETDOWN, windows.WSAEHOSTDOWN, windows.WSAEADDRNOTAVAIL}
