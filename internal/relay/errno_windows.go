package relay

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// errnos is the outcomes table's column for this system's errors.
var errnos = map[syscall.Errno]Outcome{
	windows.WSAECONNREFUSED: Refused,
	windows.WSAEHOSTUNREACH: HostUnreachable,
	windows.WSAEHOSTDOWN:    HostUnreachable,
	windows.WSAENETUNREACH:  NetUnreachable,
	windows.WSAENETDOWN:     NetUnreachable,
	windows.WSAETIMEDOUT:    TimedOut,
	windows.WSAEACCES:       Prohibited,
	windows.WSAEMFILE:       Shortage,
	windows.WSAENOBUFS:      Shortage,
	windows.WSAEAFNOSUPPORT: Unsupported,
	windows.WSAECONNRESET:   Broken,
	windows.WSAECONNABORTED: Broken,

	// Pipes.
	windows.ERROR_BROKEN_PIPE: Broken,
	windows.ERROR_NO_DATA:     Broken,
}
