//go:build !linux

package transport

import "net"

// newSocket returns a portable socket: all is written by the flusher.
func newSocket(nc net.Conn) (socket, func([]byte) (int, error), *tcpTuner) {
	if c, ok := nc.(*net.TCPConn); ok {
		c.SetNoDelay(true)
	}
	return connSocket{nc}, nc.Read, nil
}
