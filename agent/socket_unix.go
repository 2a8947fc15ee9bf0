//go:build !windows

package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Socket returns a Dialer of the agent that listens on a path: a unix socket.
func Socket(path string) *Dialer {
	return &Dialer{
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
		Identity: func() string {
			fi, err := os.Stat(path)
			if err != nil {
				return ""
			}
			inode := uint64(0)
			if s, ok := fi.Sys().(*syscall.Stat_t); ok {
				inode = uint64(s.Ino)
			}
			return fmt.Sprint(inode, fi.ModTime().UnixNano())
		},
	}
}
