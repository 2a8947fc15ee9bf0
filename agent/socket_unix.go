//go:build !windows

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// servicePipe is where an agent listens that is the system's: there is none.
const servicePipe = ""

// IsPipe says whether a path is a named pipe of Windows: never.
func IsPipe(string) bool { return false }

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

// isAbsent says whether an agent could not be dialled since there is none.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
