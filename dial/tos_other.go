//go:build !unix

package dial

import "net"

// setTOS does nothing: Windows leaves the type of service to its administrator.
func setTOS(*net.TCPConn, bool, int) {}
