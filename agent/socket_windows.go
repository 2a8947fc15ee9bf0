package agent

import (
	"context"
	"net"
	"strings"

	"github.com/Microsoft/go-winio"
)

// Socket returns a Dialer of the agent that listens on a path: a named pipe such
// as \\.\pipe\openssh-ssh-agent, or a unix socket.
func Socket(path string) *Dialer {
	return &Dialer{Dial: func(ctx context.Context) (net.Conn, error) {
		if strings.HasPrefix(strings.ReplaceAll(path, "/", `\`), `\\.\pipe\`) {
			return winio.DialPipeContext(ctx, path)
		}
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
}
